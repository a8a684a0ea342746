package jsonscan

import "encoding/binary"

// The structural bitmap has one bit per byte of the document, lowest bit first. The bit is 1 for a
// quote, a backslash, a control character, or a byte outside ASCII. All other bytes are valid
// inside a string, so the next 1 bit is nearly always the end of the string. The bits from the end
// of the document to the next multiple of eight are 1. There is at least one such bit, so every
// search stops.

// vector enables bitmapVector. Tests set it to false.
var vector = hasVector

// setBitmap sets s.bitmap to the bitmap of b.
func (s *Scanner) setBitmap(b []byte) {
	need := len(b)/8 + 8 // so that window can load eight bytes at any position in b
	if cap(s.bitmap) < need {
		s.bitmap = make([]byte, 2*need)
	}
	s.bitmap = s.bitmap[:need]
	if vector && len(b) >= 64 {
		bitmapVector(s.bitmap, b)
		return
	}
	words := len(b) / 8
	for i := range words {
		s.bitmap[i] = bitmap8(load(b[8*i:]))
	}
	s.bitmap[words] = bitmap8(rest(b))
}

// bitmap8 returns the bitmap of the eight bytes in w.
func bitmap8(w uint64) byte {
	const ones = 0x0101010101010101
	// Flipping bit 1 maps the quote (0x22) to 0x20, next to the control characters, and every other
	// printable character to a larger value. For each ASCII byte, the highest bit in plain is the
	// inverse of the byte's bit in the bitmap. The sums cannot carry into the next byte.
	ascii := w & (ones * 0x7f)
	plain := ((ascii ^ ones*0x02) + ones*(0x80-0x21)) & ((ascii ^ ones*'\\') + ones*0x7f)
	// The multiplication collects the highest bits of the eight bytes in the highest byte.
	return byte((^plain | w) & (ones * 0x80) * 0x0002040810204081 >> 56)
}

// window returns at least 57 bits of the bitmap, starting with the bit for byte p. The remaining
// high bits are 0.
func window(bitmap []byte, p int) uint64 {
	i := uint(p) / 8
	return load(bitmap[i:i+8:i+8]) >> (uint(p) % 8)
}

// load returns the first eight bytes of b as a little-endian number.
func load(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// rest returns the last len(b)%8 bytes of b as a little-endian number, padded with zeros.
func rest(b []byte) uint64 {
	if len(b) < 8 {
		return prefix8(b)
	}
	return load(b[len(b)-8:]) >> (8 * (8 - uint(len(b))%8))
}

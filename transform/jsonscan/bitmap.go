package jsonscan

import "encoding/binary"

// The structural bitmap of a document holds one bit per byte of the document, eight to a byte,
// lowest bit first. The bit is 1 for a quote, a backslash, a control character, and a byte outside
// ASCII. All other bytes are valid inside a string, so the next 1 is nearly always the end of the
// string. The bits past the end of the document are 1.

// vector reports whether setBitmap uses bitmapVector. Tests turn it off.
var vector = hasVector

// setBitmap sets s.bitmap to the bitmap of b.
func (s *Scanner) setBitmap(b []byte) {
	need := len(b)/8 + 8 // so that window can load eight bytes up to the end of b
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

// bitmap8 returns the bitmap of eight bytes.
func bitmap8(w uint64) byte {
	const ones = 0x0101010101010101
	// Flipping bit 1 moves the quote (0x22) to 0x20, next to the control characters; all other
	// bytes stay above. The sums set the highest bit of each byte whose bit is 0; they cannot carry
	// into the next byte.
	ascii := w & (ones * 0x7f)
	plain := ((ascii ^ ones*0x02) + ones*(0x80-0x21)) & ((ascii ^ ones*'\\') + ones*0x7f)
	// The multiplication gathers the highest bits of the eight bytes in the highest byte.
	return byte((^plain | w) & (ones * 0x80) * 0x0002040810204081 >> 56)
}

// window returns the bits from byte p of the document on, at least 57 of them, with zeros above.
func window(bitmap []byte, p int) uint64 {
	i := uint(p) / 8
	return load(bitmap[i:i+8:i+8]) >> (uint(p) % 8)
}

// load returns the first eight bytes of b as a little-endian number.
func load(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// rest returns the last len(b)%8 bytes of b as a little-endian number, with zeros above.
func rest(b []byte) uint64 {
	if len(b) < 8 {
		return prefix8(b)
	}
	return load(b[len(b)-8:]) >> (8 * (8 - uint(len(b))%8))
}

package transform

import "encoding/binary"

// The marks of a document are one bit for each of its bytes, eight to a byte, the lowest bit first: 1 for a quote, a
// backslash, a control character, and what is not ASCII. What is not marked needs no look inside a string, so that the
// end of a string is mostly found in one step. All bytes behind the end of the document count as marked.

// vector says whether markVector is used, where there is one. The tests turn it off.
var vector = hasVector

// setMarks makes the marks of b in s.marks.
func (s *scanner) setMarks(b []byte) {
	need := len(b)/8 + 8 // so that a window of eight bytes can be loaded up to the end of b
	if cap(s.marks) < need {
		s.marks = make([]byte, 2*need)
	}
	s.marks = s.marks[:need]
	if vector && len(b) >= 64 {
		markVector(s.marks, b)
		return
	}
	words := len(b) / 8
	for i := range words {
		s.marks[i] = mark(load(b[8*i:]))
	}
	s.marks[words] = mark(rest(b))
}

// mark returns the marks of eight bytes.
func mark(w uint64) byte {
	const ones = 0x0101010101010101
	// Flipping bit 1 puts the quote (0x22) beside the control characters: they are 0x20 and below then, all others above.
	// The sums set the highest bit of each byte that needs no mark; they cannot carry into the next byte.
	ascii := w & (ones * 0x7f)
	plain := ((ascii ^ ones*0x02) + ones*(0x80-0x21)) & ((ascii ^ ones*'\\') + ones*0x7f)
	// The multiplication gathers the highest bits of the eight bytes in the highest byte.
	return byte((^plain | w) & (ones * 0x80) * 0x0002040810204081 >> 56)
}

// window returns the marks from byte p on, at least 57 of them, and zeros above.
func window(marks []byte, p int) uint64 {
	i := uint(p) / 8
	return load(marks[i:i+8:i+8]) >> (uint(p) % 8)
}

// load returns the first eight bytes of b as a little-endian number.
func load(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// rest returns the last len(b)%8 bytes of b as a little-endian number, with zeros above.
func rest(b []byte) uint64 {
	if len(b) < 8 {
		return head(b)
	}
	return load(b[len(b)-8:]) >> (8 * (8 - uint(len(b))%8))
}

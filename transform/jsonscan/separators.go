package jsonscan

import "encoding/binary"

// A separator is the byte sequence between two strings. It consists of the quote that ends the
// first string and up to three more bytes. In a document without white space, nearly all separators
// are among those below. One comparison then replaces three or four, and shows where the next
// string begins. Numbers, literals, arrays, long strings, and strings with escapes take the general
// path.
const (
	nameValue  = '"' | ':'<<8                     // ":
	nameString = '"' | ':'<<8 | '"'<<16           // ":"
	nameOpen   = '"' | ':'<<8 | '{'<<16 | '"'<<24 // ":{"
	stringName = '"' | ','<<8 | '"'<<16           // ","
	closeName  = '"' | '}'<<8 | ','<<16 | '"'<<24 // "},"
)

// separator returns the four bytes at b[p] as a little-endian number, or 0 if fewer than four bytes
// remain.
func separator(b []byte, p int) uint32 {
	if p >= 0 && p < len(b)-3 { // this form avoids bounds checks
		return binary.LittleEndian.Uint32(b[p : p+4])
	}
	return 0
}

// clearTwo clears the two lowest 1 bits of a window, which are the quote that ends one string and
// the quote that begins the next.
func clearTwo(m uint64) uint64 {
	m &= m - 1
	return m & (m - 1)
}

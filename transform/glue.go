package transform

import "encoding/binary"

// Glue is what stands between two strings: the quote that ends one, and up to three bytes more. Where there is no white
// space it is nearly always one of these few, so that one comparison validates what would take three or four, and shows
// where the next string begins. Numbers, literals, arrays, long strings and those with escapes take the other way.
const (
	nameValue  = '"' | ':'<<8
	nameString = '"' | ':'<<8 | '"'<<16
	nameOpen   = '"' | ':'<<8 | '{'<<16 | '"'<<24
	stringName = '"' | ','<<8 | '"'<<16
	closeName  = '"' | '}'<<8 | ','<<16 | '"'<<24
)

// glue returns the four bytes from b[p] on as a little-endian number; 0 at the end of b.
func glue(b []byte, p int) uint32 {
	if p >= 0 && p < len(b)-3 { // in this form it spares the compiler's own checks
		return binary.LittleEndian.Uint32(b[p : p+4])
	}
	return 0
}

// clearTwo removes from a window of marks the quote that ends one string and that which begins the next.
func clearTwo(m uint64) uint64 {
	m &= m - 1
	return m & (m - 1)
}

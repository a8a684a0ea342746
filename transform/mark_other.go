//go:build !amd64

package transform

// markBlocks writes the marks of each whole block of 16 bytes of b, two bytes of marks for each.
func markBlocks(marks, b []byte) {
	for i := range len(b) / 16 * 2 {
		marks[i] = mark(load(b[8*i:]))
	}
}

// Package coerce reads times and numbers from JSON values, including strings that contain them. The
// rules follow Segment's own code. The package depends on neither the clock nor the locale.
//
// The tests compare it with a simple implementation of the same rules, in package coercetest.
package coerce

// Reader reads times and numbers from JSON values. A Reader reuses its scratch space and is not
// safe for concurrent use.
type Reader struct {
	text    func(raw []byte) []byte
	scratch []byte // the last number or time read from a string, normalized
}

// NewReader returns a Reader. text receives a JSON string, including its quotes, and returns the
// decoded content. Times in common formats are read without calling text.
func NewReader(text func(raw []byte) []byte) *Reader { return &Reader{text: text} }

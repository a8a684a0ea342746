package jsonscan

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// vectors lists the values of vector that this machine supports. The last one is the default.
var vectors = func() []bool {
	if hasVector {
		return []bool{false, true}
	}
	return []bool{false}
}()

// requireBitmap fails the test unless the bitmap of b is correct, with and without vector
// instructions.
func requireBitmap(t *testing.T, b []byte) {
	t.Helper()
	for _, vector = range vectors {
		var s Scanner
		s.bitmap = bytes.Repeat([]byte{0x5a}, len(b)/8+100) // left by an earlier document
		s.setBitmap(b)
		for i, c := range b {
			want := c == '"' || c == '\\' || c < ' ' || c >= 0x80
			if got := s.bitmap[i/8]>>(i%8)&1 == 1; got != want {
				t.Fatalf("vector %v: bit of byte %d in %q is %v", vector, i, b, got)
			}
		}
		for i := len(b); i%8 > 0 || i == len(b); i++ {
			if s.bitmap[i/8]>>(i%8)&1 == 0 {
				t.Fatalf("vector %v: bit %d, past the end of %q, is 0", vector, i, b)
			}
		}
		if rest := s.bitmap[len(s.bitmap):cap(s.bitmap)]; len(bytes.Trim(rest, "\x5a")) > 0 {
			t.Fatalf("vector %v: %q: written past the bitmap: %x", vector, b, rest)
		}
	}
}

// TestBitmapMarksEachByteAtEachPosition surrounds each byte with bytes whose bit is 0 or 1.
func TestBitmapMarksEachByteAtEachPosition(t *testing.T) {
	for c := range 256 {
		for _, other := range []byte{'x', '"', 0, 0xff} {
			for _, length := range []int{0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 71, 127, 128, 150} {
				b := bytes.Repeat([]byte{other}, length)
				requireBitmap(t, b)
				if length == 0 {
					continue
				}
				for _, position := range []int{0, length / 3, length / 2, length - 1, c % length} {
					b[position] = byte(c)
					requireBitmap(t, b)
					b[position] = other
				}
			}
		}
	}
}

// TestBitmapMarksRandomBytes uses sequences of all lengths and alignments. Half of the bytes are
// next to a boundary between bytes whose bit is 0 and bytes whose bit is 1.
func TestBitmapMarksRandomBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	boundaries := []byte("\x00\x1f\x20\x21\"#[\\]\x7f\x80\xff")
	memory := make([]byte, 400)
	for length := range 300 {
		for range 20 {
			b := memory[r.IntN(64):][:length:length]
			for i := range b {
				if b[i] = byte(r.Uint32()); r.IntN(2) == 0 {
					b[i] = boundaries[r.IntN(len(boundaries))]
				}
			}
			requireBitmap(t, b)
		}
	}
}

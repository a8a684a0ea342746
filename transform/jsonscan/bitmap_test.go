package jsonscan

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// vectors are the values of vector that this machine supports. The last one is its default.
var vectors = func() []bool {
	if hasVector {
		return []bool{false, true}
	}
	return []bool{false}
}()

// requireBitmap fails unless the bitmap of b follows its definition, with and without vectors.
func requireBitmap(t *testing.T, b []byte) {
	t.Helper()
	for _, vector = range vectors {
		var s Scanner
		s.bitmap = bytes.Repeat([]byte{0x5a}, len(b)/8+100) // of an earlier document
		s.setBitmap(b)
		for i, c := range b {
			want := c == '"' || c == '\\' || c < ' ' || c >= 0x80
			if got := s.bitmap[i/8]>>(i%8)&1 == 1; got != want {
				t.Fatalf("vector %v: byte %d of %q: %v", vector, i, b, got)
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

// TestBitmapOfEachByteAtEachPosition surrounds each byte with others whose bit is 0 or 1.
func TestBitmapOfEachByteAtEachPosition(t *testing.T) {
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

// TestBitmapOfRandomBytes draws all bytes, and more often those on both sides of each limit, at all
// lengths and alignments.
func TestBitmapOfRandomBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	limits := []byte("\x00\x1f\x20\x21\"#[\\]\x7f\x80\xff")
	memory := make([]byte, 400)
	for length := range 300 {
		for range 20 {
			b := memory[r.IntN(64):][:length:length]
			for i := range b {
				if b[i] = byte(r.Uint32()); r.IntN(2) == 0 {
					b[i] = limits[r.IntN(len(limits))]
				}
			}
			requireBitmap(t, b)
		}
	}
}

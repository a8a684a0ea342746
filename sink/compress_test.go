package sink

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"testing"

	"pgregory.net/rapid"
)

func TestCompressedBodyIsGzipAndRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(t, "raw"), rapid.SampledFrom([]int{1, 2, 5000}).Draw(t, "times"))
		body := deflate(raw)
		kept := bytes.Clone(body)
		if !bytes.Equal(inflate(body, len(raw)), raw) {
			t.Fatal("inflate does not reverse deflate")
		}
		reader, err := stdgzip.NewReader(bytes.NewReader(body)) // an independent implementation
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%d bytes, want %d: %v", len(got), len(raw), err)
		}
		if deflate(append([]byte("x"), raw...)); !bytes.Equal(body, kept) {
			t.Fatal("compressing another body changed the first one")
		}
	})
}

// Only bodies compressed by the program itself are decompressed, so a failure is a bug.
func TestInflateOfDamagedBodyPanics(t *testing.T) {
	body := deflate([]byte("[{},{}]"))
	for name, c := range map[string]struct {
		body []byte
		size int
	}{"not gzip": {body[1:], 7}, "truncated": {body[:len(body)/2], 7}, "longer": {body, 8}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			inflate(c.body, c.size)
		}()
	}
}

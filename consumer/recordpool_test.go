package consumer

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch that compresses extremely well does not inflate the memory for the next batch.
func TestGuessOfTheDecompressedSizeIsBounded(t *testing.T) {
	const compressed = 500 << 10
	p := &recordPool{}
	guess := func() int { return cap(p.GetDecompressBytes(make([]byte, compressed), kgo.CodecLz4)) }
	p.learn(compressed, 6*compressed)
	if n := guess(); n < 6*compressed {
		t.Errorf("%d bytes after a ratio of 6", n)
	}
	p.learn(1<<10, 1<<20)
	if n := guess(); n > 20*compressed {
		t.Errorf("%d bytes for %d compressed bytes", n, compressed)
	}
}

// The client fetches a batch that is too large again and again.
func TestBatchThatIsTooLargeGetsNoMemory(t *testing.T) {
	compressor, err := kgo.DefaultCompressor(kgo.ZstdCompression())
	if err != nil {
		t.Fatal(err)
	}
	for size, none := range map[int]bool{maxBatchBytes: false, maxBatchBytes + 1: true} {
		var buffer bytes.Buffer
		batch, codec := compressor.Compress(&buffer, make([]byte, size))
		got := cap((&recordPool{}).GetDecompressBytes(batch, codec))
		if none && got > 0 || !none && got < size {
			t.Errorf("%d bytes for a batch of %d bytes", got, size)
		}
	}
}

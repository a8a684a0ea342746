package consumer

import (
	"math/bits"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordPool lends the client the memory that a producer's batch is unpacked into. It comes
// back when the last of the batch's records was taken ([kgo.Record.Recycle]). Records
// that are dropped unread are left to the collector. It is safe for concurrent use.
//
// What is put back must be found again: slices are kept by the power of two that
// their capacity reaches, and a request looks there first where it guesses low, then
// one above. A pool that guesses high never hits and only hoards.
type recordPool struct {
	bytes   [bits.UintSize + 1]sync.Pool // of *[]byte
	records [bits.UintSize + 1]sync.Pool // of *[]kgo.Record
}

var (
	_ kgo.PoolDecompressBytes = (*recordPool)(nil)
	_ kgo.PoolRecords         = (*recordPool)(nil)
)

// leastRatio is how many bytes a byte of compressed JSON unpacks to, at least as a
// rule.
const leastRatio = 4

// GetDecompressBytes returns a slice for what is packed in compressed, or none.
func (p *recordPool) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	class := bits.Len(uint(len(compressed) * leastRatio))
	for _, c := range [...]int{class, class + 1} {
		if b, ok := p.bytes[c].Get().(*[]byte); ok {
			return *b
		}
	}
	return nil // the client makes one that fits
}

// PutDecompressBytes takes a slice back.
func (p *recordPool) PutDecompressBytes(b []byte) {
	b = b[:0]
	p.bytes[bits.Len(uint(cap(b)))].Put(&b)
}

// GetRecords returns a slice of capacity n at least.
func (p *recordPool) GetRecords(n int) []kgo.Record {
	class := bits.Len(uint(n))
	if r, ok := p.records[class].Get().(*[]kgo.Record); ok && cap(*r) >= n {
		return *r
	}
	return make([]kgo.Record, 0, 1<<class-1)
}

// PutRecords takes a slice back.
func (p *recordPool) PutRecords(r []kgo.Record) {
	r = r[:0]
	p.records[bits.Len(uint(cap(r)))].Put(&r)
}

package consumer

import (
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// recordPool provides memory for the producer batches that the client decompresses. The client
// returns a batch's memory once intake has recycled all of its records (see [kgo.Record.Recycle]).
// Records dropped unread are left to the garbage collector. recordPool is safe for concurrent use.
type recordPool struct {
	bytes   sink.SlicePool[byte]
	records sink.SlicePool[kgo.Record]
}

var (
	_ kgo.PoolDecompressBytes = (*recordPool)(nil)
	_ kgo.PoolRecords         = (*recordPool)(nil)
)

// minRatio is the compression ratio that most JSON batches reach.
const minRatio = 4

// GetDecompressBytes returns a pooled slice for the decompressed bytes. It tries the size class
// that minRatio suggests, and then the next larger one. If both are empty, it returns nil, and the
// client allocates a slice of the right size. A size class that is too large never gets a hit and
// only holds on to memory.
func (p *recordPool) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	size := len(compressed) * minRatio
	if b := p.bytes.Get(size); b != nil {
		return b
	}
	return p.bytes.Get(2 * size)
}

// PutDecompressBytes returns a slice to the pool.
func (p *recordPool) PutDecompressBytes(b []byte) { p.bytes.Put(b) }

// GetRecords returns a slice with a capacity of at least n.
func (p *recordPool) GetRecords(n int) []kgo.Record {
	if r := p.records.Get(n); cap(r) >= n {
		return r
	}
	return make([]kgo.Record, 0, 1<<bits.Len(uint(n))-1)
}

// PutRecords returns a slice to the pool.
func (p *recordPool) PutRecords(r []kgo.Record) { p.records.Put(r) }

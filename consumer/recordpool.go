package consumer

import (
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// recordPool lends the client the memory into which it decompresses a producer batch. The client
// returns the memory when intake has mapped and recycled the last record of the batch (see
// [kgo.Record.Recycle]). Records that are dropped unread are left to the garbage collector. It is
// safe for concurrent use.
type recordPool struct {
	bytes   sink.SlicePool[byte]
	records sink.SlicePool[kgo.Record]
}

var (
	_ kgo.PoolDecompressBytes = (*recordPool)(nil)
	_ kgo.PoolRecords         = (*recordPool)(nil)
)

// minRatio is the minimum compression ratio of most batches of JSON.
const minRatio = 4

// GetDecompressBytes returns a slice for the decompressed bytes. It returns nil if the pool has
// none, and the client then allocates one of the right size. It tries the class that minRatio
// suggests and the next one. A class that is too large never gets a hit and only holds on to
// memory.
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

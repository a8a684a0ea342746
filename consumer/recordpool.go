package consumer

import (
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// recordPool lends the client the memory that a producer's batch is decompressed into. The memory
// comes back when intake has mapped the last record of the batch ([kgo.Record.Recycle]). Records
// that are dropped unread are left to the garbage collector. It is safe for concurrent use.
type recordPool struct {
	bytes   sink.SlicePool[byte]
	records sink.SlicePool[kgo.Record]
}

var (
	_ kgo.PoolDecompressBytes = (*recordPool)(nil)
	_ kgo.PoolRecords         = (*recordPool)(nil)
)

// leastRatio is by how much JSON grows, at least, when it is decompressed. A few batches grow less.
const leastRatio = 4

// GetDecompressBytes returns a slice for the decompressed bytes, or nil, and then the client
// allocates one that fits. It tries the class that leastRatio suggests and the next one. A class
// that is too large never gets a hit and only holds on to memory.
func (p *recordPool) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	size := len(compressed) * leastRatio
	if b := p.bytes.Get(size); b != nil {
		return b
	}
	return p.bytes.Get(2 * size)
}

// PutDecompressBytes takes a slice back.
func (p *recordPool) PutDecompressBytes(b []byte) { p.bytes.Put(b) }

// GetRecords returns a slice with a capacity of at least n.
func (p *recordPool) GetRecords(n int) []kgo.Record {
	if r := p.records.Get(n); cap(r) >= n {
		return r
	}
	return make([]kgo.Record, 0, 1<<bits.Len(uint(n))-1)
}

// PutRecords takes a slice back.
func (p *recordPool) PutRecords(r []kgo.Record) { p.records.Put(r) }

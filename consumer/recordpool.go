package consumer

import (
	"cmp"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// recordPool provides memory for the producer batches that the client decompresses. The client
// returns a batch's memory once intake has recycled all of its records (see [kgo.Record.Recycle]).
// Records dropped unread are left to the garbage collector. recordPool is safe for concurrent use.
type recordPool struct {
	bytes   sink.SlicePool[byte]
	records sink.SlicePool[kgo.Record]
	lent    atomic.Int64 // bytes of decompressed batches not yet returned; see fetchBudget
	ratio   atomic.Int64 // compression ratio of a recent batch, rounded up, at most maxRatio; 0 before the first
}

var (
	_ kgo.PoolDecompressBytes = (*recordPool)(nil)
	_ kgo.PoolRecords         = (*recordPool)(nil)
)

const (
	usualRatio = 4  // compression ratio that most JSON batches reach
	maxRatio   = 16 // larger ratios are rare, and a slice for one wastes memory on any other batch
)

// GetDecompressBytes returns a slice for the decompressed bytes. Batches from most producers do not
// contain their decompressed size, so that the size is a guess. If it is too small, decompression
// allocates a larger slice. If the batch states a size above maxBatchBytes, decompression fails, and
// GetDecompressBytes returns nil.
func (p *recordPool) GetDecompressBytes(compressed []byte, codec kgo.CompressionCodecType) []byte {
	size := len(compressed) * int(cmp.Or(p.ratio.Load(), usualRatio))
	var header zstd.Header
	if codec == kgo.CodecZstd && header.Decode(compressed) == nil && header.HasFCS {
		if header.FrameContentSize > maxBatchBytes {
			return nil
		}
		size = int(header.FrameContentSize)
	}
	return p.bytes.Get(min(size, maxBatchBytes))
}

// PutDecompressBytes returns a slice to the pool.
func (p *recordPool) PutDecompressBytes(b []byte) {
	if p.lent.Add(-int64(cap(b))) < 0 { // it was lent before the last reset
		p.lent.Store(0)
	}
	p.bytes.Put(b)
}

// learn records the compression ratio of a batch, up to maxRatio.
func (p *recordPool) learn(compressed, decompressed int) {
	p.ratio.Store(min(int64((decompressed+compressed-1)/max(compressed, 1)), maxRatio))
}

// GetRecords returns a slice with a capacity of at least n.
func (p *recordPool) GetRecords(n int) []kgo.Record { return p.records.Get(n) }

// PutRecords returns a slice to the pool.
func (p *recordPool) PutRecords(r []kgo.Record) { p.records.Put(r) }

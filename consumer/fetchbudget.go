package consumer

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBatchBytes = 32 << 20 // maximum decompressed size of a producer batch; a larger batch stops its partition
	maxFetchBytes = 32 << 20 // decompression fails once this many decompressed bytes are unpolled
)

// fetchBudget bounds the decompressed size of fetches. The client's own limits count compressed
// bytes, but JSON can compress by a factor of 1000. Beyond the bound, decompressing a batch fails.
// The client fetches the batch again once the records already decompressed are polled. fetchBudget
// is safe for concurrent use.
type fetchBudget struct {
	inner    kgo.Decompressor
	pool     *recordPool
	unpolled atomic.Int64 // bytes decompressed since the last reset
}

var errFetchBudget = errors.New("decompress batch: too many bytes decompressed but not yet polled")

// newFetchBudget returns a fetchBudget that allocates from pool.
func newFetchBudget(pool *recordPool) (*fetchBudget, error) {
	// Only a kgo client can create a size-limited decompressor. This client never connects.
	client, err := kgo.NewClient(
		kgo.WithPools(pool), kgo.MaxDecompressBatchBytes(maxBatchBytes), kgo.DisableClientMetrics())
	if err != nil {
		return nil, fmt.Errorf("create the decompressor: %w", err)
	}
	defer client.Close()
	return &fetchBudget{inner: client.OptValue(kgo.WithDecompressor).(kgo.Decompressor), pool: pool}, nil
}

// Decompress implements [kgo.Decompressor].
func (b *fetchBudget) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if b.unpolled.Load() >= maxFetchBytes {
		return nil, errFetchBudget
	}
	out, err := b.inner.Decompress(src, codec)
	b.unpolled.Add(int64(cap(out)))
	if err == nil && codec != kgo.CodecNone {
		b.pool.learn(len(src), len(out))
	}
	return out, err
}

// reset clears the byte count. The caller must have polled all fetched records.
func (b *fetchBudget) reset() { b.unpolled.Store(0) }

package consumer

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBatchBytes = 32 << 20 // maximum decompressed size of a producer batch; a larger batch stops its partition
	maxFetchBytes = 32 << 20 // decompression fails once this many decompressed bytes are unpolled
)

// fetchBudget bounds the decompressed size of fetches. The client's own limits count compressed
// bytes, but JSON can compress by a factor of 1000. Beyond the bound, decompressing a batch fails.
// The client fetches the batch again once enough of the records already decompressed are mapped, or
// all of them are polled. fetchBudget is safe for concurrent use.
type fetchBudget struct {
	inner kgo.Decompressor
	pool  *recordPool
}

var errFetchBudget = errors.New("decompress batch: too many bytes decompressed but not yet mapped")

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
	if codec == kgo.CodecNone {
		return src, nil
	}
	if b.pool.lent.Load() >= maxFetchBytes {
		return nil, errFetchBudget
	}
	out, err := b.inner.Decompress(src, codec)
	b.pool.lent.Add(int64(cap(out)))
	if err == nil {
		b.pool.learn(len(src), len(out))
	}
	return out, err
}

// reset clears the byte count, because the memory of records dropped unread never returns to the
// pool. The caller must have polled all fetched records.
func (b *fetchBudget) reset() { b.pool.lent.Store(0) }

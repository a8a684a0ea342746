package consumer

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBatchBytes = 32 << 20 // decompressed size limit of a producer batch; a larger one stops its partition
	maxFetchBytes = 32 << 20 // decompressed but unpolled bytes at which decompression stops
)

// fetchBudget bounds the decompressed size of fetches. The client's own limits count compressed
// bytes, and JSON may compress by a factor of 1000. Decompression of a batch beyond the bound
// fails, and the client fetches the batch again after the records already decompressed were polled.
// It is safe for concurrent use.
type fetchBudget struct {
	inner    kgo.Decompressor
	unpolled atomic.Int64 // bytes decompressed since reset
}

var errFetchBudget = errors.New("decompress batch: too many bytes decompressed but not yet polled")

// newFetchBudget returns a fetchBudget that allocates from pool.
func newFetchBudget(pool kgo.Pool) (*fetchBudget, error) {
	// Only a client can create a decompressor with a limit. This client never connects.
	client, err := kgo.NewClient(
		kgo.WithPools(pool), kgo.MaxDecompressBatchBytes(maxBatchBytes), kgo.DisableClientMetrics())
	if err != nil {
		return nil, fmt.Errorf("create the decompressor: %w", err)
	}
	defer client.Close()
	return &fetchBudget{inner: client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)}, nil
}

// Decompress implements [kgo.Decompressor].
func (b *fetchBudget) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if b.unpolled.Load() >= maxFetchBytes {
		return nil, errFetchBudget
	}
	out, err := b.inner.Decompress(src, codec)
	b.unpolled.Add(int64(len(out)))
	return out, err
}

// reset records that all fetched records were polled.
func (b *fetchBudget) reset() { b.unpolled.Store(0) }

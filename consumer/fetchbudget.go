package consumer

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBatchBytes = 32 << 20 // that a producer's batch may decompress to; a larger one stops its partition
	maxFetchBytes = 32 << 20 // decompressed and not polled, beyond which no further batch is decompressed
)

// fetchBudget bounds what fetches decompress to; the client's own limits count compressed bytes, and
// JSON may compress to a thousandth. A batch beyond the bound fails, and the client fetches it again
// after what it has decompressed was polled. It is safe for concurrent use.
type fetchBudget struct {
	inner    kgo.Decompressor
	unpolled atomic.Int64 // bytes decompressed since reset
}

var errFetchBudget = errors.New("more was decompressed than polled")

// newFetchBudget returns a budget whose memory comes from pool.
func newFetchBudget(pool kgo.Pool) (*fetchBudget, error) {
	// Only a client makes a decompressor with a bound. This one never connects.
	client, err := kgo.NewClient(kgo.WithPools(pool), kgo.MaxDecompressBatchBytes(maxBatchBytes), kgo.DisableClientMetrics())
	if err != nil {
		return nil, fmt.Errorf("decompressor: %w", err)
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

// reset notes that everything fetched was polled.
func (b *fetchBudget) reset() { b.unpolled.Store(0) }

package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readAgain reads one record again. It returns nil if the log does not hold the record any more, and
// tries until it knows or ctx is done.
func readAgain(ctx context.Context, opts []kgo.Opt, name topicPartition, offset int64) (*kgo.Record, error) {
	at := map[string]map[int32]kgo.Offset{name.topic: {name.partition: kgo.NewOffset().At(offset)}}
	reader, err := kgo.NewClient(slices.Concat(opts, []kgo.Opt{
		kgo.ConsumePartitions(at), kgo.DisableClientMetrics(), kgo.MaxDecompressBatchBytes(maxBatchBytes),
		kgo.FetchMaxBytes(1), kgo.FetchMaxPartitionBytes(1), // one batch of the log is returned all the same
	})...)
	if err != nil {
		return nil, fmt.Errorf("read a rejected record again: %w", err)
	}
	defer reader.CloseAllowingRebalance()
	for {
		if starts, err := listOffsets(ctx, reader, []topicPartition{name}, logStartTimestamp, readUncommitted); err == nil && starts[name].offset > offset {
			return nil, nil
		}
		pollCtx, cancel := context.WithTimeout(ctx, rereadInterval)
		fetches := reader.PollRecords(pollCtx, 1)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for _, r := range fetches.Records() {
			if r.Offset > offset {
				return nil, nil
			}
			if r.Offset == offset {
				return r, nil
			}
		}
		if pollCtx.Err() == nil && len(fetches.Errors()) > 0 { // the client repeats some errors as fast as it is polled
			select {
			case <-time.After(pollBackoff):
			case <-ctx.Done():
			}
		}
	}
}

// rereadInterval is how long to wait for a record before the start of the log is asked for again.
const rereadInterval = 5 * time.Second

package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reread returns the record at an offset, or nil if the log no longer contains it. reread retries
// errors until ctx is done.
func reread(ctx context.Context, opts []kgo.Opt, name topicPartition, offset int64) (*kgo.Record, error) {
	r, err := readFrom(ctx, opts, name, offset)
	if err != nil || r == nil || r.Offset != offset {
		return nil, err
	}
	return r, nil
}

// readFrom returns the first record at or after an offset, or nil if the log starts after the
// offset. readFrom retries errors until ctx is done.
func readFrom(ctx context.Context, opts []kgo.Opt, name topicPartition, offset int64) (*kgo.Record, error) {
	at := map[string]map[int32]kgo.Offset{name.topic: {name.partition: kgo.NewOffset().At(offset)}}
	reader, err := kgo.NewClient(slices.Concat(opts, []kgo.Opt{
		kgo.ConsumePartitions(at), kgo.DisableClientMetrics(), kgo.MaxDecompressBatchBytes(maxBatchBytes),
		kgo.FetchMaxBytes(1), kgo.FetchMaxPartitionBytes(1), // brokers still return one whole producer batch
	})...)
	if err != nil {
		return nil, fmt.Errorf("read offset %d of %s: %w", offset, name, err)
	}
	defer reader.CloseAllowingRebalance()
	for {
		starts, err := listOffsets(ctx, reader, []topicPartition{name}, logStartTimestamp, readUncommitted)
		if err == nil && starts[name].offset > offset {
			return nil, nil
		}
		pollCtx, cancel := context.WithTimeout(ctx, rereadInterval)
		fetches := reader.PollRecords(pollCtx, 1)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for _, r := range fetches.Records() {
			if r.Offset >= offset {
				return r, nil
			}
		}
		if pollCtx.Err() == nil && len(fetches.Errors()) > 0 { // the client repeats some errors on every poll
			select {
			case <-time.After(pollBackoff):
			case <-ctx.Done():
			}
		}
	}
}

// rereadInterval is how long a poll waits for the record before readFrom checks the log start
// again.
const rereadInterval = 5 * time.Second

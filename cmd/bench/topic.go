package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// tally holds the number of events and the sum of their event numbers. If one event is lost and
// another is duplicated, the count is still correct, but the sum is not.
type tally struct {
	Events int64
	Sum    int64
}

// missing returns the number of missing or surplus events. If the number of events is correct, but
// their sum is not, missing returns 1.
func (t tally) missing(got tally) int64 {
	n := max(t.Events-got.Events, got.Events-t.Events)
	if n == 0 && t.Sum != got.Sum {
		return 1 // at least one event is missing and another duplicated
	}
	return n
}

// load produces the records, spread evenly over the partitions. It returns a tally of the events
// that must be delivered and the total size of the record values.
func (b *bench) load(ctx context.Context) (expected tally, valueBytes int64, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.DefaultProduceTopic(busyTopic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.ProducerBatchMaxBytes(1_000_000), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return expected, 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g := segmenttest.New(1)
	for n := range b.records {
		value, calls := g.Record(int64(n))
		for i, reason := range calls {
			if reason == transform.None {
				expected.Events++
				expected.Sum += segmenttest.Number(int64(n), i)
			}
		}
		valueBytes += int64(len(value))
		r := &kgo.Record{Value: slices.Clone(value), Partition: int32(n % partitions)}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("produce: %w", err)) // keeps only the first error
			}
		})
	}
	_ = client.Flush(ctx) // returns an error only if ctx is done
	return expected, valueBytes, context.Cause(ctx)
}

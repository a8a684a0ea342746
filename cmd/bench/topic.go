package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
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

// topic is a topic with generated records.
type topic struct {
	name       string
	partitions int
	records    int
	expected   tally // events that must be delivered
	valueBytes int64 // total size of the record values
}

// codecs maps the values of -codec to compression codecs of producer batches.
var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// produce creates a topic and fills it with records, spread evenly over the partitions.
func (b *bench) produce(name string, partitions, records int) (*topic, error) {
	t := &topic{name: name, partitions: partitions, records: records}
	if err := kafkatest.CreateTopic(b.ctx, b.brokers, name, int32(partitions), nil); err != nil || records == 0 {
		return t, err
	}
	client, err := b.producer(t)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	g := segmenttest.New(1)
	for n := range records {
		r := t.next(g, n)
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("produce: %w", err)) // keeps only the first error
			}
		})
	}
	_ = client.Flush(ctx) // returns an error only if ctx is done
	return t, context.Cause(ctx)
}

// producer returns a client that produces to t.
func (b *bench) producer(t *topic) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.DefaultProduceTopic(t.name),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[b.codec]),
		kgo.ProducerBatchMaxBytes(int32(b.batchBytes)), kgo.MaxBufferedRecords(50_000))
}

// next returns record n and adds its events to t.expected.
func (t *topic) next(g *segmenttest.Generator, n int) *kgo.Record {
	value, calls := g.Record(int64(n))
	for i, reason := range calls {
		if reason == transform.None {
			t.expected.Events++
			t.expected.Sum += segmenttest.Number(int64(n), i)
		}
	}
	t.valueBytes += int64(len(value))
	return &kgo.Record{Value: slices.Clone(value), Partition: int32(n % t.partitions)}
}

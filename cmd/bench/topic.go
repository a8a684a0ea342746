package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func codecNames() []string { return slices.Sorted(maps.Keys(codecs)) }

func codecOf(name string) (kgo.CompressionCodec, error) {
	codec, ok := codecs[name]
	if !ok {
		return codec, fmt.Errorf("-codec: must be one of %v, got %s", codecNames(), name)
	}
	return codec, nil
}

// tally counts events and adds the numbers that they carry. If a loss and a duplicate give the same
// count, they still give a different sum.
type tally struct {
	Events int64
	Sum    int64
}

// missing returns how many expected events are missing, or how many are surplus.
func (t tally) missing(got tally) int64 {
	n := max(t.Events-got.Events, got.Events-t.Events)
	if n == 0 && t.Sum != got.Sum {
		return 1 // at least one, and as many duplicates
	}
	return n
}

// seed is the seed of all records.
const seed = 1

// load produces the records evenly over the partitions that hold them. It returns the events that
// must be delivered and the size of all values.
func (b *bench) load(ctx context.Context) (expected tally, valueBytes int64, err error) {
	codec, err := codecOf(b.codec)
	if err != nil {
		return expected, 0, err
	}
	client, err := kgo.NewClient(append(slices.Clone(b.kafka), kgo.DefaultProduceTopic(b.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(int32(b.batchBytes)), kgo.MaxBufferedRecords(50_000))...)
	if err != nil {
		return expected, 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g := segmenttest.New(seed)
	for n := range b.records {
		value, calls := g.Record(int64(n))
		for i, reason := range calls {
			if reason == transform.None {
				expected.Events++
				expected.Sum += segmenttest.Number(int64(n), i)
			}
		}
		valueBytes += int64(len(value))
		r := &kgo.Record{Value: slices.Clone(value), Partition: int32(n % b.partitions)}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("produce: %w", err)) // only the first error counts
			}
		})
	}
	_ = client.Flush(ctx) // returns an error only if ctx is done
	return expected, valueBytes, context.Cause(ctx)
}

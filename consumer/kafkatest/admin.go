package kafkatest

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The functions below work on the embedded broker and on Apache Kafka alike. opts are added to those of the client
// that each call opens, for a cluster that asks for TLS or SASL. They retry until ctx ends.

// CreateTopic creates a topic with the brokers' number of replicas. configs are the topic's own settings.
func CreateTopic(ctx context.Context, brokers []string, topic string, partitions int32, configs map[string]string, opts ...kgo.Opt) error {
	adm, err := admin(brokers, opts)
	if err != nil {
		return err
	}
	defer adm.Close()
	values := make(map[string]*string)
	for k, v := range configs {
		values[k] = &v
	}
	if _, err := adm.CreateTopic(ctx, partitions, -1, values, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// Produce writes the records numbered first to last-1 and returns when all in-sync replicas have each of them. A
// record's key is its number in decimal, which chooses its partition; its value comes from value.
func Produce(ctx context.Context, brokers []string, topic string, first, last int, value func(n int) []byte, opts ...kgo.Opt) error {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic)}, opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for n := first; n < last; n++ {
		r := &kgo.Record{Key: strconv.AppendInt(nil, int64(n), 10), Value: value(n)}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("produce record %d to %s: %w", n, topic, err)) // the first wins
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return context.Cause(ctx)
}

// Committed is what a group has committed: offset, leader epoch and metadata by topic and partition.
func Committed(ctx context.Context, brokers []string, group string, opts ...kgo.Opt) (kadm.Offsets, error) {
	adm, err := admin(brokers, opts)
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	rs, err := adm.FetchOffsets(ctx, group)
	if err == nil {
		err = rs.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the offsets of %s: %w", group, err)
	}
	return rs.Offsets(), nil
}

// EndOffsets are the offsets that a topic's next records get, by partition.
func EndOffsets(ctx context.Context, brokers []string, topic string, opts ...kgo.Opt) (map[int32]int64, error) {
	adm, err := admin(brokers, opts)
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	listed, err := adm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the end offsets of %s: %w", topic, err)
	}
	ends := make(map[int32]int64)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

func admin(brokers []string, opts []kgo.Opt) (*kadm.Client, error) {
	return kadm.NewOptClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, opts...)...)
}

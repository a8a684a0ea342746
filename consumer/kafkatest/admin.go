package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The functions below work with the embedded broker and with Apache Kafka. Each call creates its
// own client. Pass opts if the cluster requires TLS or SASL. A request that fails because the
// cluster is changing is retried until ctx is done.

// CreateTopic creates a topic with the brokers' default replication factor and the topic settings
// in configs. It returns when every responding broker knows the topic.
func CreateTopic(
	ctx context.Context, brokers []string, topic string, partitions int32, configs map[string]string, opts ...kgo.Opt,
) error {
	cl, err := connect(brokers, opts)
	if err != nil {
		return err
	}
	defer cl.Close()
	values := make(map[string]*string)
	for k, v := range configs {
		values[k] = &v
	}
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, -1, values, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for _, b := range cl.SeedBrokers() {
		for !knows(ctx, b, topic) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// knows reports whether a broker knows a topic. It also reports true if the broker does not
// respond.
func knows(ctx context.Context, b *kgo.Broker, topic string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	resp, err := req.RequestWith(ctx, b)
	return err != nil || resp.Topics[0].ErrorCode == 0
}

// Produce writes the records numbered first to last-1, and returns when all in-sync replicas have
// them. A record's key is its number in decimal, which determines the partition. value returns a
// record's value.
func Produce(
	ctx context.Context, brokers []string, topic string, first, last int, value func(n int) []byte, opts ...kgo.Opt,
) error {
	cl, err := connect(brokers, opts, kgo.DefaultProduceTopic(topic))
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
				cancel(fmt.Errorf("produce record %d to topic %s: %w", n, topic, err)) // the first error wins
			}
		})
	}
	_ = cl.Flush(ctx) // fails only if ctx is done
	return context.Cause(ctx)
}

// ReadAll returns the records currently in a topic, in offset order per partition. It omits records
// of open and aborted transactions.
func ReadAll(ctx context.Context, brokers []string, topic string, opts ...kgo.Opt) ([]*kgo.Record, error) {
	var all []*kgo.Record
	err := ReadFrom(ctx, brokers, topic, nil, func(r *kgo.Record) { all = append(all, r) }, opts...)
	return all, err
}

// ReadFrom is like [ReadAll], but starts at the given partition offsets, and passes the records to
// a callback instead of returning them.
func ReadFrom(
	ctx context.Context, brokers []string, topic string, from map[int32]int64, each func(*kgo.Record),
	opts ...kgo.Opt,
) error {
	cl, err := connect(brokers, opts,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last record may be a control record
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := offsets(ctx, topic, adm.ListStartOffsets)
	if err != nil {
		return err
	}
	ends, err := offsets(ctx, topic, adm.ListCommittedOffsets)
	if err != nil {
		return err
	}
	unread := make(map[int32]kgo.Offset)
	for p, end := range ends {
		if start := max(starts[p], from[p]); start < end {
			unread[p] = kgo.NewOffset().At(start)
		}
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: unread})
	for len(unread) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read topic %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < ends[r.Partition] && !r.Attrs.IsControl() {
				each(r)
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(unread, r.Partition)
			}
		})
	}
	return nil
}

// Committed returns a group's committed offsets, leader epochs, and metadata, by topic and
// partition.
func Committed(ctx context.Context, brokers []string, group string, opts ...kgo.Opt) (kadm.Offsets, error) {
	cl, err := connect(brokers, opts)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var committed kadm.Offsets
	err = retry(ctx, func() error {
		rs, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
		committed = rs.Offsets()
		return errors.Join(err, rs.Error())
	})
	if err != nil {
		return nil, fmt.Errorf("fetch the committed offsets of group %s: %w", group, err)
	}
	return committed, nil
}

// EndOffsets returns a topic's end offsets, by partition.
func EndOffsets(ctx context.Context, brokers []string, topic string, opts ...kgo.Opt) (map[int32]int64, error) {
	cl, err := connect(brokers, opts)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return offsets(ctx, topic, kadm.NewClient(cl).ListEndOffsets)
}

// offsets returns a topic's offsets by partition, as returned by the function list. It retries
// after errors.
func offsets(
	ctx context.Context, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error),
) (map[int32]int64, error) {
	byPartition := make(map[int32]int64)
	err := retry(ctx, func() error {
		listed, err := list(ctx, topic)
		listed.Each(func(o kadm.ListedOffset) { byPartition[o.Partition] = o.Offset })
		return errors.Join(err, listed.Error())
	})
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
	}
	return byPartition, nil
}

// retry calls the function do until it succeeds, ctx is done, or Kafka responds with a
// non-retriable error.
func retry(ctx context.Context, do func() error) error {
	for {
		err := do()
		var response *kerr.Error
		if err == nil || ctx.Err() != nil || errors.As(err, &response) && !response.Retriable {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// connect returns a client for the given brokers. Options in opts take precedence over the
// additional options.
func connect(brokers []string, opts []kgo.Opt, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append(more, kgo.SeedBrokers(brokers...)), opts...)...)
}

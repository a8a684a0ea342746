package kafkatest

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestAdminOnEmbeddedBroker(t *testing.T) {
	c, err := NewEmbedded(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	testAdmin(t, c.ListenAddrs())
}

// testAdmin checks the functions in admin.go against each other on any cluster.
func testAdmin(t *testing.T, brokers []string) {
	ctx := t.Context()
	const topic, group, records, aborted = "admin", "admin", 1000, 10
	if err := CreateTopic(ctx, brokers, topic, 3, map[string]string{"retention.ms": "123456789"}); err != nil {
		t.Fatal(err)
	}
	if all, err := ReadAll(ctx, brokers, topic); err != nil || len(all) != 0 {
		t.Fatalf("empty topic: got %d records (%v), want 0", len(all), err)
	}
	value := func(n int) []byte { return fmt.Appendf(nil, "value %d", n) }
	if err := Produce(ctx, brokers, topic, 0, records, value); err != nil {
		t.Fatal(err)
	}
	if err := abort(ctx, brokers, topic, aborted); err != nil {
		t.Fatal(err)
	}
	all, err := ReadAll(ctx, brokers, topic)
	if err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, all, records)

	ends, err := EndOffsets(ctx, brokers, topic)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, end := range ends {
		sum += end
	}
	if len(ends) != 3 || sum <= records+aborted { // the transaction adds a control record
		t.Errorf("end offsets: %v", ends)
	}

	cl, err := connect(brokers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	want := kadm.Offset{Topic: topic, Partition: 2, At: 17, LeaderEpoch: 0, Metadata: "v1 +3"}
	if err := kadm.NewClient(cl).CommitAllOffsets(ctx, group, kadm.Offsets{topic: {2: want}}); err != nil {
		t.Fatal(err)
	}
	committed, err := Committed(ctx, brokers, group)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := committed.Lookup(topic, 2)
	got.TopicID = want.TopicID // only newer brokers return it
	if got != want || len(committed[topic]) != 1 {
		t.Errorf("committed %+v, want %+v", committed, want)
	}
}

// abort produces records in a transaction and aborts it.
func abort(ctx context.Context, brokers []string, topic string, records int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.TransactionalID("abort"))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	for range records {
		if err := cl.ProduceSync(ctx, kgo.StringRecord("aborted")).FirstErr(); err != nil {
			return err
		}
	}
	return cl.EndTransaction(ctx, kgo.TryAbort)
}

// checkNumbers fails t unless the keys of the records are the numbers below n, each exactly once.
func checkNumbers(t *testing.T, all []*kgo.Record, n int) {
	t.Helper()
	seen := make(map[string]int)
	for _, r := range all {
		seen[string(r.Key)]++
	}
	for i := range n {
		if c := seen[fmt.Sprint(i)]; c != 1 {
			t.Errorf("record %d: got %d copies, want 1", i, c)
		}
	}
	if len(all) != n {
		t.Errorf("got %d records, want %d", len(all), n)
	}
}

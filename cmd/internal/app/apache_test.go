//go:build linux

package app_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// TestOnApacheKafka covers behavior that the embedded broker does not reproduce. The program runs
// in this process.
func TestOnApacheKafka(t *testing.T) {
	kafka := newApache(t)
	for name, test := range map[string]func(*testing.T, apache){
		"listeners that require TLS or SASL":              testListeners,
		"aborted transactions and markers":                testTransactions,
		"gaps left by compaction":                         testCompaction,
		"records deleted by retention are reported":       testRetention,
		"recreated topic":                                 testRecreation,
		"topic recreated under load":                      testRecreationUnderLoad,
		"topic recreated while no member runs":            testRecreationWithoutAMember,
		"offsets beyond the end offset":                   testOffsetsBeyondTheEnd,
		"partitions added while running":                  testAddedPartitions,
		"no permission to read the topic":                 testNoReadPermission,
		"no permission to describe the topic":             testNoDescribePermission,
		"no permission on the group":                      testNoGroupPermission,
		"permission to commit revoked":                    testCommitPermissionRevoked,
		"no permission to write to the dead-letter topic": testNoDeadLetterPermission,
	} {
		t.Run(name, func(t *testing.T) { test(t, kafka) })
	}
}

func testListeners(t *testing.T, kafka apache) {
	cert, err := kafka.ClientCert("alice")
	if err != nil {
		t.Fatal(err)
	}
	tls := []string{"S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE=" + kafka.CAFile()}
	own := []string{"S2LD_KAFKA_TLS_CERT_FILE=" + cert, "S2LD_KAFKA_TLS_KEY_FILE=" + cert}
	sasl := func(mechanism string) []string {
		return []string{
			"S2LD_KAFKA_SASL_MECHANISM=" + mechanism, "S2LD_KAFKA_SASL_USERNAME=alice",
			"S2LD_KAFKA_SASL_PASSWORD=" + password,
		}
	}
	type listener struct {
		by      kafkatest.Listener
		environ [][]string
	}
	listeners := []listener{
		{kafkatest.TLS, [][]string{tls}},
		{kafkatest.MutualTLS, [][]string{tls, own}},
		{kafkatest.SASL, [][]string{sasl("PLAIN")}},
		{kafkatest.SASLTLS, [][]string{tls, sasl("PLAIN")}},
	}
	if !kafka.Old() {
		listeners = append(listeners, listener{kafkatest.SASLTLS, [][]string{tls, sasl("SCRAM-SHA-256")}},
			listener{kafkatest.SASLTLS, [][]string{tls, sasl("SCRAM-SHA-512")}})
	}
	for i, c := range listeners {
		s := newScene(t, kafka, "listener-"+strconv.Itoa(i), 2, nil).set("S2LD_KAFKA_BROKERS=" + kafka.BrokersBy(c.by)[0])
		s.must(kafka.Allow(s.ctx, "alice", kadm.NewACLs().Topics(s.topic).Groups(s.topic).Operations(kadm.OpRead)))
		for _, e := range c.environ {
			s.set(e...)
		}
		s.produce(100)
		p := s.start()
		s.delivered(100)
		p.leave()
		s.committed()
	}
}

func testTransactions(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "transactions", 1, nil)
	transaction := func(end kgo.TransactionEndTry) {
		client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers()...),
			kgo.DefaultProduceTopic(s.topic), kgo.TransactionalID("t"))
		s.must(err)
		defer client.Close()
		s.must(client.BeginTransaction())
		for range 10 {
			s.must(client.ProduceSync(s.ctx, &kgo.Record{Value: event(s.produced)}).FirstErr())
			if end == kgo.TryCommit {
				s.produced++
			}
		}
		s.must(client.EndTransaction(s.ctx, end))
	}
	transaction(kgo.TryCommit)
	transaction(kgo.TryAbort)
	p := s.start()
	transaction(kgo.TryCommit)
	transaction(kgo.TryAbort)
	s.delivered(20)
	// The watermark passes the aborted records and the last marker, even without further records.
	p.ready(func(string) bool { return p.metric("watermark_offset") == 44 && p.metric("lag_records") == 0 })
	p.leave()
	s.committed()
}

func testCompaction(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "compacted", 1, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01",
	})
	for range 3 { // each key occurs several times
		client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers()...), kgo.DefaultProduceTopic(s.topic))
		s.must(err)
		for range 200 {
			client.Produce(s.ctx, &kgo.Record{Key: []byte(strconv.Itoa(s.produced % 100)), Value: event(s.produced)}, nil)
			s.produced++
		}
		s.must(client.Flush(s.ctx))
		client.Close()
		time.Sleep(600 * time.Millisecond) // exceed segment.ms, which uses the timestamps of the records
	}
	const left = 100 + 200 // one record per key, and the last segment, which is never compacted
	for n := 0; n != left; {
		all, err := kafkatest.ReadAll(s.ctx, kafka.Brokers(), s.topic)
		s.must(err)
		n = len(all)
	}
	p := s.start()
	s.delivered(left)
	p.leave()
	s.committed()
}

func testRetention(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "retention", 1, nil)
	s.produce(300)
	p := s.start()
	s.delivered(300)
	p.leave()
	s.produce(200) // deleted before they are read
	keep := func(ms string) {
		_, err := kafka.admin.AlterTopicConfigs(s.ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: &ms}}, s.topic)
		s.must(err)
	}
	keep("1")
	for {
		starts, err := kafka.admin.ListStartOffsets(s.ctx, s.topic)
		s.must(errors.Join(err, starts.Error()))
		if o, _ := starts.Lookup(s.topic, 0); o.Offset == 500 {
			break
		}
	}
	keep("604800000")
	s.produce(100)
	p = s.start()
	s.delivered(400)
	if n := p.metric("records_lost_total"); n != 200 {
		t.Errorf("%v records counted as lost, want 200", n)
	}
	p.leave()
	s.committed()
}

func testRecreation(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "recreated", 2, nil)
	s.produce(300)
	p := s.start()
	s.delivered(300)
	p.ready(func(string) bool { return p.metric("committed_offset") == 300 })
	s.recreate(2)
	s.produced = 0 // the same events at the same offsets, but new records
	s.produce(300)
	s.delivered(600)
	if n := p.metric("topic_recreations_total"); n != 1 {
		t.Errorf("%v recreations counted, want 1", n)
	}
	p.leave()
	s.committed()
}

func testAddedPartitions(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "added", 2, nil)
	s.set("S2LD_KAFKA_START_AT=latest") // applies only to the partitions that exist at the start
	p := s.start()
	p.ready(isReady)
	s.produce(100)
	s.delivered(100)
	_, err := kafka.admin.CreatePartitions(s.ctx, 3, s.topic)
	s.must(err)
	for ends := map[int32]int64{}; len(ends) < 5; {
		ends, err = kafkatest.EndOffsets(s.ctx, kafka.Brokers(), s.topic)
		s.must(err)
	}
	s.produce(500) // to all five, including new partitions not yet known to the group
	s.delivered(600)
	p.leave()
	s.committed()
}

// asBob makes the program authenticate as bob with SASL.
func (s *scene) asBob() *scene {
	return s.set("S2LD_KAFKA_BROKERS="+s.kafka.BrokersBy(kafkatest.SASL)[0],
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=bob", "S2LD_KAFKA_SASL_PASSWORD="+password)
}

func (s *scene) allow(acls *kadm.ACLBuilder) {
	s.t.Helper()
	s.must(s.kafka.Allow(s.ctx, "bob", acls))
}

// recovers waits until /readyz names the missing permission, grants it, and waits until n events
// are counted.
func (s *scene) recovers(p *program, permission *kadm.ACLBuilder, n int, names ...string) {
	s.t.Helper()
	p.ready(containsAll(names...))
	s.allow(permission)
	s.delivered(n)
	p.ready(isReady)
	p.leave()
	s.committed()
}

func testNoReadPermission(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "unreadable", 1, nil).asBob()
	s.allow(kadm.NewACLs().Groups(s.topic).Operations(kadm.OpRead))
	s.allow(kadm.NewACLs().Topics(s.topic).Operations(kadm.OpDescribe))
	s.produce(100)
	p := s.start()
	s.recovers(p, kadm.NewACLs().Topics(s.topic).Operations(kadm.OpRead), 100, "READ", "topic "+s.topic)
}

func testNoDescribePermission(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "unseen", 1, nil).asBob()
	s.allow(kadm.NewACLs().Groups(s.topic).Operations(kadm.OpRead))
	s.produce(100)
	p := s.start()
	s.recovers(p, kadm.NewACLs().Topics(s.topic).Operations(kadm.OpRead), 100, "READ", "topic "+s.topic)
}

func testNoGroupPermission(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "groupless", 1, nil).asBob()
	s.allow(kadm.NewACLs().Topics(s.topic).Operations(kadm.OpRead))
	s.produce(100)
	p := s.start()
	s.recovers(p, kadm.NewACLs().Groups(s.topic).Operations(kadm.OpRead), 100, "READ", "group")
}

func testCommitPermissionRevoked(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "uncommitted", 1, nil).asBob()
	s.allow(kadm.NewACLs().Topics(s.topic).Groups(s.topic).Operations(kadm.OpRead))
	p := s.start()
	s.produce(100)
	s.delivered(100)
	deleted, err := kafka.admin.DeleteACLs(s.ctx, kadm.NewACLs().Groups(s.topic).Operations(kadm.OpRead).
		Allow("User:bob").AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral))
	s.must(err)
	if n := len(deleted); n != 1 || len(deleted[0].Deleted) != 1 {
		t.Fatalf("deleted %+v", deleted)
	}
	s.produce(100)
	s.recovers(p, kadm.NewACLs().Groups(s.topic).Operations(kadm.OpRead), 200, "READ", "group")
}

func testNoDeadLetterPermission(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "letterless", 1, nil).asBob()
	letters := s.topic + "-dead"
	s.must(kafkatest.CreateTopic(s.ctx, kafka.Brokers(), letters, 1, nil))
	s.set("S2LD_DEAD_LETTERS_TOPIC=" + letters)
	s.allow(kadm.NewACLs().Topics(s.topic).Groups(s.topic).Operations(kadm.OpRead))
	rejected := func(int) []byte { return []byte(`{"type":"track","userId":"u"}`) }
	s.must(kafkatest.Produce(s.ctx, kafka.Brokers(), s.topic, 0, 1, rejected))
	s.produce(100)
	p := s.start()
	s.recovers(p, kadm.NewACLs().Topics(letters).Operations(kadm.OpWrite), 100, "WRITE", letters)
	if dead, err := kafkatest.ReadAll(context.Background(), kafka.Brokers(), letters); err != nil || len(dead) != 1 {
		t.Errorf("%d dead letters (%v)", len(dead), err)
	}
}

package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// The tests in this file make a part of the consumer stuck and check that the rest continues.

// to makes a producer write to one partition.
func to(partition int32) kgo.Opt {
	return kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(*kgo.Record, int) int { return int(partition) }
	}))
}

// largeRecord returns a record of about a kilobyte, half of that when compressed. Tests do not
// count its event.
func largeRecord(i int) []byte {
	filling := make([]byte, 450)
	_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(filling)
	return fmt.Appendf(nil, `{"type":"track","event":"e","userId":"u","timestamp":"2026-01-02T03:04:05Z",`+
		`"properties":{"n":0,"x":"%x"}}`, filling)
}

func TestStuckPartitionDelaysNoOther(t *testing.T) {
	const many = 2 * maxWindow * 100 // twice the capacity of a window
	for name, backlog := range map[string]int{"small": 0, "larger than the queue": 4 * maxQueued / 1000} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.produce(many, nil, to(0))
				w.produce(backlog, largeRecord, to(0))
				m := w.join(func(_ *Config, s *sink.Config) { s.Transport = stuck{s.Transport, w, 0} })
				time.Sleep(time.Minute)
				w.produce(many, nil, to(1))
				time.Sleep(2 * time.Minute)
				w.mu.Lock()
				if n := len(w.counted); n != many {
					t.Errorf("%d events delivered while partition 0 was stuck, want all %d of partition 1", n, many)
				}
				w.mu.Unlock()
				m.stop()
				if err := <-m.done; err == nil {
					t.Error("left with undelivered batches, but without an error")
				}
				m.end()
			})
		})
	}
}

// All large events have number 0, so they are stuck with partition 0 regardless of their partition.
func TestManyStuckPartitionsDelayNoOther(t *testing.T) {
	const stuckPartitions, healthy = 8, 1000
	inWorld(t, stuckPartitions+1, func(w *world) {
		w.produce(1, nil, to(0))
		for p := range int32(stuckPartitions) {
			w.produce(3000, largeRecord, to(p))
		}
		m := w.join(func(c *Config, s *sink.Config) {
			c.Budget, s.Metrics = sink.NewBudget(4<<20), nil
			s.Transport = stuck{s.Transport, w, 0}
		})
		time.Sleep(time.Minute)
		if used := m.cfg.Budget.Used(); used < 2<<20 {
			t.Errorf("test has no effect: only %d bytes held", used)
		}
		w.produce(healthy, nil, to(stuckPartitions))
		time.Sleep(2 * time.Minute)
		w.mu.Lock()
		if n := len(w.counted); n != healthy {
			t.Errorf("%d events delivered while %d partitions were stuck, want all %d of the other partition", n,
				stuckPartitions, healthy)
		}
		w.mu.Unlock()
		m.abort()
		m.end()
	})
}

// Only a poll can complete a range that is open up to a recorded cut.
func TestOpenRangesThatUseUpTheBudgetDoNotBlockPolling(t *testing.T) {
	in := idleIntake(t, 30)
	in.mapOffsets(offsets(0, 20)...)                        // part of a range that needs records 20 to 29
	in.memory.addOpen(1<<20 - int(in.memory.budget.Used())) // as if many such ranges used up the budget
	in.memory.addUnfinished(100)                            // a dead letter that cannot be written
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	poller := &poller{session: &session{environment: &environment{cfg: in.cfg, health: newHealth(zap.NewNop()),
		memory: in.memory}}}
	if !poller.waitToPoll(ctx) {
		t.Error("polling is blocked")
	}
}

func TestTooLargeDeadLetterIsWrittenWithoutItsValue(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		huge := fmt.Appendf(nil, `{"type":"track","event":"","userId":"u","properties":{"x":"%s"}}`,
			bytes.Repeat([]byte("x"), 1<<20))
		w.produce(1, func(int) []byte { return huge }, kgo.ProducerBatchMaxBytes(8<<20),
			kgo.ProducerBatchCompression(kgo.GzipCompression()))
		w.produce(1000, nil)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters, Err: kerr.MessageTooLarge})
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		w.awaitDelivered(time.Minute)
		m.leave(t)
		dead := w.readLetters()
		if len(dead) != 1 || dead[0].Value != nil || header(dead[0], headerOmitted) != fmt.Sprint(len(huge)) ||
			header(dead[0], headerOffset) != "0" {
			t.Errorf("%d dead letters: %v", len(dead), dead)
		}
		if got := w.committed(); got != 1001 {
			t.Errorf("committed %d of 1001 offsets", got)
		}
	})
}

// The client's default limit for a batch is 1 MB.
func TestLargeDeadLetterKeepsItsValue(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		huge := fmt.Appendf(nil, `{"type":"track","event":"","userId":"u","properties":{"x":"%s"}}`,
			bytes.Repeat([]byte("x"), 2<<20))
		if err := w.cluster.CreateTopic("large", 1, map[string]string{"max.message.bytes": "33554432"}); err != nil {
			t.Fatal(err)
		}
		w.produce(3, func(int) []byte { return huge }, kgo.ProducerBatchMaxBytes(16<<20),
			kgo.ProducerBatchCompression(kgo.GzipCompression()))
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = "large" })
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		m.leave(t)
		dead, err := kafkatest.ReadAll(context.Background(), w.brokers, "large",
			append(w.kafka(), kgo.FetchMaxBytes(64<<20), kgo.FetchMaxPartitionBytes(64<<20))...)
		if err != nil || len(dead) != 3 {
			t.Errorf("%d dead letters, %v", len(dead), err)
		}
		for _, letter := range dead {
			if !bytes.Equal(letter.Value, huge) {
				t.Errorf("letter of offset %s has %d bytes", header(letter, headerOffset), len(letter.Value))
			}
		}
		if n := testutil.ToFloat64(m.metrics.deadLetters.WithLabelValues("no_event_name")); n != 3 {
			t.Errorf("%v dead letters counted, want 3", n)
		}
	})
}

// The broker does not respond. The client keeps the letter, because it cannot tell whether the
// letter was written.
func TestDrainEndsWhileADeadLetterIsUnacknowledged(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.ld.Poison(ldtest.Containing(`"n":12,`))
		w.produce(100, nil)
		w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, errors.New("disconnected by the test"), true
		})
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		w.expectRejected(12)
		time.Sleep(time.Minute)
		stopping := time.Now()
		m.stop()
		if err := <-m.done; err == nil {
			t.Error("left with an unwritten dead letter, but without an error")
		}
		if took := time.Since(stopping); took > time.Minute {
			t.Errorf("leaving took %v", took)
		}
		m.end()
	})
}

func TestRejectedEventOfADeletedRecordIsADeadLetter(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.ld.Poison(ldtest.Containing(`"n":12,`))
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(100, nil)
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		w.expectRejected(12)
		time.Sleep(time.Minute)
		if err := w.cluster.DeleteRecords(testTopic, 0, 100); err != nil {
			t.Fatal(err)
		}
		w.ld.Up()
		w.awaitDelivered(10 * time.Minute)
		m.finish(t)
		if dead := w.readLetters(); len(dead) != 1 || !bytes.Contains(dead[0].Value, []byte(`"n":12,`)) {
			t.Errorf("dead letters: %v", dead)
		}
	})
}

func TestMemoryIsBoundedWhileDeadLettersCannotBeWritten(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		broken := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters,
			Err: kerr.TopicAuthorizationFailed, Count: -1})
		w.produce(50000, func(int) []byte { return []byte(`{"type":`) })
		const limit = 1 << 20
		m := w.join(func(c *Config, s *sink.Config) {
			c.DeadLetterTopic, c.Budget, s.Metrics = letters, sink.NewBudget(limit), nil
		})
		for range 60 {
			time.Sleep(time.Second)
			if held := m.cfg.Budget.Used(); held > 4*limit { // plus the records of one poll
				t.Fatalf("budget use of %d bytes exceeds the limit of %d", held, limit)
			}
		}
		if m.cfg.Budget.Used() == 0 {
			t.Error("test has no effect: no bytes held")
		}
		broken.Remove()
		time.Sleep(10 * time.Minute)
		m.leave(t)
		if n := len(w.readLetters()); n != 50000 {
			t.Errorf("%d dead letters, want 50000", n)
		}
		if held := m.cfg.Budget.Used(); held != 0 {
			t.Errorf("%d bytes of the budget not released", held)
		}
	})
}

func TestFailingDeadLettersBlockNoOtherPartition(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters, Err: kerr.TopicAuthorizationFailed,
			Count: -1})
		bad := append(bytes.Repeat([]byte("x"), 2000), '{')
		w.produce(8000, func(int) []byte { return bad }, to(0))
		m := w.join(func(c *Config, s *sink.Config) {
			c.DeadLetterTopic, c.Budget, s.Metrics = letters, sink.NewBudget(8<<20), nil
		})
		time.Sleep(time.Minute)
		w.produce(1000, nil, to(1))
		w.awaitDelivered(time.Minute)
		m.abort()
		m.end()
	})
}

// The client returns the errors of a deleted topic again on every poll.
func TestDeletedTopicDoesNotCauseABusyLoop(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(nil)
		w.produce(500, nil)
		w.awaitDelivered(time.Minute)
		if err := w.cluster.DeleteTopic(testTopic); err != nil {
			t.Fatal(err)
		}
		w.forget()
		time.Sleep(time.Minute)
		if n := testutil.ToFloat64(m.metrics.pollErrors); n > 1000 {
			t.Errorf("%v poll errors in one minute", n)
		}
		m.abort()
		m.end()
	})
}

// The group keeps assigning the partitions of a deleted topic. The test runs in real time, because
// the client requests such a topic without a pause.
func TestDeletedTopicBlocksNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 2)
	defer w.close()
	if err := w.cluster.CreateTopic("other", 2, nil); err != nil {
		t.Fatal(err)
	}
	m := w.join(func(c *Config, _ *sink.Config) {
		c.Topics, c.SessionTimeout = []string{testTopic, "other"}, 6*time.Second // a third is the heartbeat interval
	})
	w.produce(100, nil)
	w.produce(100, nil, kgo.DefaultProduceTopic("other"))
	w.awaitDelivered(20 * time.Second)
	if err := w.cluster.DeleteTopic("other"); err != nil {
		t.Fatal(err)
	}
	lost := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
	time.Sleep(3 * time.Second)
	if lost.Hits() == 0 {
		t.Error("test has no effect: no partition was reassigned")
	}
	w.produce(1000, nil)
	w.awaitDelivered(30 * time.Second)
	m.abort()
	m.end()
}

// Otherwise, the bytes of the chunk would stay queued indefinitely.
func TestClosedQueueDropsChunks(t *testing.T) {
	p := idleIntake(t)
	p.queue.close()
	p.queue.push(chunk{bytes: 1000})
	if n := p.queue.queued.Load(); n != 0 {
		t.Errorf("%d bytes queued, want 0", n)
	}
}

func TestProblemOfAPartitionEndsWithItsRelease(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		a := w.join(nil)
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: 5})
		time.Sleep(10 * time.Second)
		if len(a.Status().Problems) == 0 {
			t.Error("test has no effect: no problem was reported")
		}
		b := w.join(nil)
		time.Sleep(20 * time.Second)
		w.produce(1000, nil)
		w.awaitDelivered(5 * time.Minute)
		if p := a.Status().Problems; len(p) > 0 {
			t.Errorf("problems: %v", p)
		}
		a.leave(t)
		b.leave(t)
	})
}

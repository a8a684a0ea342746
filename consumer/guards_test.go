package consumer

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

func TestEndOfASessionFencesAndCancelsItsPartitions(t *testing.T) {
	s := idleSession(t)
	in := s.newPartition(start{topicPartition: topicPartition{testTopic, 0}, committed: true}, "member")
	s.partitions[in.topicPartition] = in.partition
	in.mapOffsets(offsets(0, 20)...)
	s.end(endLost, errRemoved)
	if _, ok := in.window.snapshot(); ok {
		t.Error("the window can still be committed")
	}
	if in.ctx.Err() == nil {
		t.Error("requests of the partition are not canceled")
	}
	if s.ctx.Err() == nil {
		t.Error("the session's goroutines are not stopped")
	}
}

func TestReportedDataLossEndsTheSession(t *testing.T) {
	s := idleSession(t)
	s.poller.onPollError(topicPartition{testTopic, 0}, &kgo.ErrDataLoss{Topic: testTopic, ConsumedTo: 10, ResetTo: 5})
	if s.cause != endTruncated {
		t.Errorf("cause %q, want %q", s.cause, endTruncated)
	}
}

// The commit is repeated although the state of the partition does not change in the meantime.
func TestFailedCommitOfAPartitionIsRepeated(t *testing.T) {
	onBothProtocols(t, 2, func(w *world, protocol func(*Config)) {
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.produce(1, nil) // wait until the partitions are assigned
		w.awaitDelivered(time.Minute)
		failed := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: testTopic, Partitions: []int32{0, 1},
			Err: kerr.CoordinatorLoadInProgress, Count: 2,
		})
		w.produce(1, nil)
		produced := time.Now()
		w.awaitDelivered(time.Minute)
		if took := time.Since(produced); took > 10*time.Second {
			w.t.Errorf("delivered after %v", took)
		}
		if failed.Hits() == 0 {
			w.t.Error("no commit failed")
		}
		m.leave(w.t)
	})
}

func TestRecordsOfAnotherTopicIDEndTheSession(t *testing.T) {
	s := idleSession(t)
	in := s.newPartition(start{topicPartition: topicPartition{testTopic, 0}, committed: true}, "member")
	s.partitions[in.topicPartition] = in.partition
	s.ids[testTopic] = topicID{1}
	records := []*kgo.Record{{Topic: testTopic, Value: track(1)}}
	s.poller.distribute(kgo.FetchTopic{Topic: testTopic, TopicID: topicID{2}}, kgo.FetchPartition{Records: records})
	if s.cause != endTopics {
		t.Errorf("cause %q, want %q", s.cause, endTopics)
	}
	if s.poller.queued.Load() != 0 {
		t.Error("the records were queued")
	}
}

func TestTransientCommitErrorsAreAProblemAfterCommitPatience(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		m := w.join(nil)
		w.produce(1, nil)
		w.awaitDelivered(time.Minute)
		failing := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: testTopic, Partitions: []int32{0},
			Err: kerr.CoordinatorLoadInProgress, Count: 1 << 20,
		})
		w.produce(1, nil)
		time.Sleep(commitPatience - 2*time.Second)
		if p := m.Status().Problems; len(p) > 0 {
			w.t.Errorf("problems before commitPatience: %v", p)
		}
		time.Sleep(5 * time.Second)
		if len(m.Status().Problems) == 0 {
			w.t.Error("no problem after commitPatience")
		}
		failing.Remove()
		w.awaitDelivered(time.Minute)
		synctest.Wait() // the batch is sent before the commit's result is recorded
		if p := m.Status().Problems; len(p) > 0 {
			w.t.Errorf("problems after the recovery: %v", p)
		}
		m.leave(w.t)
	})
}

func TestStartTimeAfterTheLastRecordIsTheEndOfTheLog(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.unchecked = true // the records before the start are never delivered
		w.produce(10, nil)
		m := w.join(func(c *Config, _ *sink.Config) { c.Start = Start{Time: time.Now().Add(time.Hour)} })
		time.Sleep(10 * time.Second)
		if s := m.Status(); len(s.Partitions) != 1 || s.Partitions[0].Watermark != 10 || len(s.Problems) > 0 {
			w.t.Errorf("%+v", s)
		}
		m.leave(w.t)
	})
}

// Some brokers allow idempotent producers only with a permission on the whole cluster.
func TestDeadLettersNeedNoClusterPermission(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(1, func(int) []byte { return []byte(`{"type":`) })
		requested := 0
		w.cluster.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			requested++
			return nil, nil, false
		})
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		time.Sleep(10 * time.Second)
		m.leave(w.t)
		if dead := w.readLetters(); len(dead) != 1 {
			w.t.Errorf("%d dead letters, want 1", len(dead))
		}
		if requested > 0 {
			w.t.Errorf("%d producer IDs requested, want none", requested)
		}
	})
}

// Azure Event Hubs rejects compressed records. Large letters stay below a topic's limit only if
// they are compressed.
func TestOnlyLargeDeadLettersAreCompressed(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		for _, size := range []int{600_000, 900_000} {
			w.produce(1, func(int) []byte {
				return fmt.Appendf(nil, `{"type":"track","event":"","userId":"u","x":"%s"}`, strings.Repeat("x", size))
			})
		}
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		time.Sleep(10 * time.Second)
		m.leave(w.t)
		dead := w.readLetters()
		if len(dead) != 2 {
			w.t.Fatalf("%d dead letters, want 2", len(dead))
		}
		for _, l := range dead {
			if compressed := l.Attrs.CompressionType() != 0; compressed != (len(l.Value) > largeLetter) {
				w.t.Errorf("dead letter of %d bytes: compressed %v", len(l.Value), compressed)
			}
		}
	})
}

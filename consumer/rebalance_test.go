package consumer

import (
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// If a join fails with UNKNOWN_MEMBER_ID, the client rejoins as a different member without a
// callback. It would keep partitions that another member may have owned in between.
func TestMemberRemovedWhileJoiningStartsOver(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		delayRequests(w, 300*time.Millisecond)
		a := w.join(nil)
		w.produce(500, nil)
		time.Sleep(3 * time.Second)
		before, _ := a.group().GroupMetadata()
		stale := a.partition(0)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.UnknownMemberID, TopLevel: true})
		a.group().ForceRebalance()
		w.produce(2000, nil)
		w.awaitDelivered(5 * time.Minute)
		if after, _ := a.group().GroupMetadata(); after == before {
			t.Error("test has no effect: the member ID did not change")
		}
		if a.partition(0) == stale {
			t.Error("the member kept partition state of its previous membership")
		}
		a.leave(t)
		if got := w.committed(); got != 2500 {
			t.Errorf("committed %d of 2500 offsets", got)
		}
	})
}

func TestCommitOfARemovedMemberEndsTheSession(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		delayRequests(w, 300*time.Millisecond)
		a := w.join(nil)
		w.produce(500, nil)
		time.Sleep(3 * time.Second)
		stale := a.session()
		rejected := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownMemberID})
		w.produce(2000, nil)
		w.awaitDelivered(5 * time.Minute)
		if rejected.Hits() == 0 {
			t.Error("test has no effect: no commit was rejected")
		}
		if a.session() == stale || testutil.ToFloat64(a.metrics.sessionsEnded.WithLabelValues(endLost)) != 1 {
			t.Error("the session did not end")
		}
		a.leave(t)
		if got := w.committed(); got != 2500 {
			t.Errorf("committed %d of 2500 offsets", got)
		}
	})
}

// partition returns the state of a partition, or nil if the member does not own it.
func (m *member) partition(number int32) *partition {
	s := m.session()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partitions[topicPartition{testTopic, number}]
}

// session returns the running session, or nil if there is none.
func (m *member) session() *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// group returns the client of the running session.
func (m *member) group() *kgo.Client { return m.session().client }

func TestLostPartitionsAreForgotten(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		delayRequests(w, time.Second)
		a := w.join(nil)
		w.produce(500, nil)
		time.Sleep(3 * time.Second)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
		b := w.join(nil)
		w.produce(1000, nil)
		w.awaitDelivered(5 * time.Minute)
		time.Sleep(time.Minute)
		for number := range int32(4) {
			if (a.partition(number) == nil) == (b.partition(number) == nil) {
				t.Errorf("partition %d: owned by a: %t, owned by b: %t", number, a.partition(number) != nil,
					b.partition(number) != nil)
			}
		}
		if testutil.ToFloat64(a.metrics.rebalances.WithLabelValues(rebalanceLost)) == 0 ||
			a.endedSessions(endLost) == 0 {
			t.Errorf("%v sessions ended because of lost partitions", a.endedSessions(endLost))
		}
		a.finish(t)
		b.finish(t)
	})
}

func TestLostPartitionsNeitherCommitNorSend(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.ld.Down(ldtest.Fault{Status: 503})
		a := w.join(nil)
		w.produce(1000, nil)
		time.Sleep(5 * time.Second)
		lost := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID,
			TopLevel: true})
		time.Sleep(5 * time.Second)
		if lost.Hits() == 0 || testutil.ToFloat64(a.metrics.rebalances.WithLabelValues(rebalanceLost)) == 0 {
			t.Fatal("test has no effect: no partition was lost")
		}
		w.ld.Up()
		w.awaitDelivered(5 * time.Minute)
		a.finish(t)
	})
}

// A partition with a full window is paused. It must not stay paused after a rebalance.
func TestPausedPartitionIsReadAfterARebalance(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(4*maxWindow*100, nil)
		a := w.join(nil)
		time.Sleep(time.Minute)
		w.produce(1000, nil) // polled while the windows are full
		time.Sleep(time.Minute)
		if len(a.group().PauseFetchPartitions(nil)) == 0 {
			t.Error("test has no effect: no partition is paused")
		}
		b := w.join(nil)
		time.Sleep(2 * time.Minute)
		w.ld.Up()
		time.Sleep(time.Minute)
		b.leave(t)
		w.produce(1000, nil)
		w.awaitDelivered(10 * time.Minute)
		a.finish(t)
	})
}

// All later owners use the recorded cuts, regardless of their settings.
func TestLaterOwnersUseRecordedCutsRegardlessOfSettings(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(3000, mixed)
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true})
		a := w.join(nil)
		time.Sleep(time.Minute)
		a.kill()
		b := w.join(func(c *Config, _ *sink.Config) { c.MaxEvents = 37 })
		time.Sleep(30 * time.Second)
		b.kill()
		c := w.join(func(c *Config, _ *sink.Config) { c.MaxEvents, c.MaxBytes = 1000, 3000 })
		time.Sleep(30 * time.Second)
		w.ld.Up()
		w.awaitDelivered(10 * time.Minute)
		for _, m := range []*member{a, b} {
			m.abort()
		}
		c.finish(t)
		if w.ld.Report().Duplicates == 0 {
			t.Error("test has no effect: nothing was resent")
		}
	})
}

// The group accepts no new member until all members have released their revoked partitions.
func TestJoiningMemberLeavesImmediately(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		delayRequests(w, 9*time.Second)
		settings := func(c *Config, s *sink.Config) { c.MaxEvents, s.MaxInFlight = 10, 3 }
		a := w.join(settings)
		w.produce(2000, mixed)
		time.Sleep(10 * time.Second)
		b := w.join(settings)
		time.Sleep(4 * time.Second) // a takes another 8 seconds to release partitions
		c := w.join(settings)
		time.Sleep(time.Second)
		leaves := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Observe: true})
		left := time.Now()
		c.stop()
		if err := <-c.done; err != nil {
			t.Errorf("leave: %v", err)
		}
		if took := time.Since(left); took > leaveTimeout {
			t.Errorf("leaving took %v", took)
		}
		if n := leaves.Hits(); n != 1 {
			t.Errorf("%d requests to leave the group, want 1", n)
		}
		c.end()
		w.awaitDelivered(time.Hour)
		a.finish(t)
		b.finish(t)
		w.checkSentOnce()
	})
}

// The client rejoins during the last commit.
func TestLastCommitIsRetriedInTheNewGeneration(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		delayRequests(w, 300*time.Millisecond)
		m := w.join(nil)
		w.produce(500, nil)
		time.Sleep(time.Second)
		m.stop()
		time.Sleep(100 * time.Millisecond)
		rejected := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.IllegalGeneration,
			Count: 3})
		m.leave(t)
		if rejected.Hits() == 0 {
			t.Error("test has no effect: no commit was rejected")
		}
		if got := w.committed(); got != 500 {
			t.Errorf("committed %d of 500 offsets", got)
		}
	})
}

func TestPressureSealsEarlyAndDeliveryContinues(t *testing.T) {
	inWorld(t, 20, func(w *world) {
		delayRequests(w, 100*time.Millisecond)
		m := w.join(func(c *Config, s *sink.Config) {
			c.Budget, s.Metrics = sink.NewBudget(16<<10), nil
			c.MaxAge, c.MaxEvents = time.Hour, 100000
		})
		w.produce(5000, nil)
		time.Sleep(10 * time.Second)
		if n := testutil.ToFloat64(m.metrics.batches.WithLabelValues(sealPressure)); n == 0 {
			t.Error("test has no effect: no batch was sealed early")
		}
		m.leave(t)
		w.awaitDelivered(time.Minute)
	})
}

// Otherwise, the load on the brokers would grow with the square of the group's size.
func TestEachMemberListsTheEndsOfItsOwnPartitions(t *testing.T) {
	const partitions, members = 12, 2
	inWorld(t, partitions, func(w *world) {
		w.produce(100, nil)
		var all []*member
		for range members {
			all = append(all, w.join(nil))
		}
		w.awaitDelivered(time.Minute)
		time.Sleep(time.Minute)
		for i, m := range all {
			if n := len(m.Status().Partitions); n != partitions/members {
				t.Fatalf("member %d owns %d partitions", i, n)
			}
		}
		var mu sync.Mutex // guards the variable below
		listed := 0
		w.cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			for _, topic := range r.(*kmsg.ListOffsetsRequest).Topics {
				listed += len(topic.Partitions)
			}
			return nil, nil, false
		})
		const checks = 20
		time.Sleep(checks * watchInterval)
		mu.Lock()
		if want := checks * partitions; listed < want/2 || listed > want+partitions {
			t.Errorf("%d partitions listed in %d checks by %d members, want %d", listed, checks, members, want)
		}
		mu.Unlock()
		for _, m := range all {
			m.leave(t)
		}
	})
}

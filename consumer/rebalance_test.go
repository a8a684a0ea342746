package consumer

import (
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

// A member whose join is answered UNKNOWN_MEMBER_ID joins again as another one, and
// the client tells nobody: it goes on with partitions that were another's meanwhile.
func TestMemberThrownOutWhileItJoinsStartsOver(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		slow(w, 300*time.Millisecond)
		a := w.join(nil)
		w.produce(500, nil)
		time.Sleep(3 * time.Second)
		before, _ := a.group().GroupMetadata()
		stale := a.partition(0)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.UnknownMemberID, TopLevel: true})
		a.group().ForceRebalance()
		w.produce(2000, nil)
		w.settled(5 * time.Minute)
		if after, _ := a.group().GroupMetadata(); after == before {
			t.Error("the member is the same: the test shows nothing")
		}
		if a.partition(0) == stale {
			t.Error("the member goes on with what it read as another member")
		}
		a.leave(t)
		if got := w.committed(); got != 2500 {
			t.Errorf("committed %d offsets of 2500", got)
		}
	})
}

func TestCommitOfARemovedMemberEndsTheSession(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		slow(w, 300*time.Millisecond)
		a := w.join(nil)
		w.produce(500, nil)
		time.Sleep(3 * time.Second)
		stale := a.session()
		rejected := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownMemberID})
		w.produce(2000, nil)
		w.settled(5 * time.Minute)
		if rejected.Hits() == 0 {
			t.Error("no commit was rejected: the test shows nothing")
		}
		if a.session() == stale || testutil.ToFloat64(a.metrics.sessionsEnded.WithLabelValues(endLost)) != 1 {
			t.Error("the session goes on")
		}
		a.leave(t)
		if got := w.committed(); got != 2500 {
			t.Errorf("committed %d offsets of 2500", got)
		}
	})
}

// partition returns the state of a partition.
func (m *member) partition(number int32) *partition {
	s := m.session()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partitions[topicPartition{testTopic, number}]
}

// session returns the session that runs, nil if there is none.
func (m *member) session() *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// group returns the client of the session that runs.
func (m *member) group() *kgo.Client { return m.session().client }

func TestPartitionsThatWereLostAreForgotten(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		slow(w, time.Second)
		a := w.join(nil)
		w.produce(500, nil)
		time.Sleep(3 * time.Second)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
		b := w.join(nil)
		w.produce(1000, nil)
		w.settled(5 * time.Minute)
		time.Sleep(time.Minute)
		for number := range int32(4) {
			if (a.partition(number) == nil) == (b.partition(number) == nil) {
				t.Errorf("partition %d: a has it: %t, b has it: %t", number, a.partition(number) != nil, b.partition(number) != nil)
			}
		}
		if testutil.ToFloat64(a.metrics.rebalances.WithLabelValues(rebalanceLost)) == 0 || a.ended(endLost) == 0 {
			t.Errorf("%v sessions ended because partitions were lost", a.ended(endLost))
		}
		a.finish(t)
		b.finish(t)
	})
}

func TestLostPartitionsCommitAndPostNothing(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.ld.Down(ldtest.Fault{Status: 503})
		a := w.join(nil)
		w.produce(1000, nil)
		time.Sleep(5 * time.Second)
		lost := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true})
		time.Sleep(5 * time.Second)
		if lost.Hits() == 0 || testutil.ToFloat64(a.metrics.rebalances.WithLabelValues(rebalanceLost)) == 0 {
			t.Fatal("nothing was lost: the test shows nothing")
		}
		w.ld.Up()
		w.settled(5 * time.Minute)
		a.finish(t)
	})
}

// A partition whose window is full is paused; a rebalance must not leave it so.
func TestPausedPartitionIsReadAfterARebalance(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(4*maxWindow*100, nil)
		a := w.join(nil)
		time.Sleep(time.Minute)
		w.produce(1000, nil) // polled while the windows are full
		time.Sleep(time.Minute)
		if len(a.group().PauseFetchPartitions(nil)) == 0 {
			t.Error("nothing is paused: the test shows nothing")
		}
		b := w.join(nil)
		time.Sleep(2 * time.Minute)
		w.ld.Up()
		time.Sleep(time.Minute)
		b.leave(t)
		w.produce(1000, nil)
		w.settled(10 * time.Minute)
		a.finish(t)
	})
}

// The recorded cuts bind the next owner, and the one after it, whatever they are set to.
func TestRecordedCutsAreCutAgainWhateverTheSettings(t *testing.T) {
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
		w.settled(10 * time.Minute)
		for _, m := range []*member{a, b} {
			m.abort()
		}
		c.finish(t)
		if w.ld.Report().Duplicates == 0 {
			t.Error("nothing was sent again: the test shows nothing")
		}
	})
}

// The group lets nobody in before all have given up what they have to.
func TestMemberThatIsJoiningLeavesSoon(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		slow(w, 9*time.Second)
		settings := func(c *Config, s *sink.Config) { c.MaxEvents, s.MaxInFlight = 10, 3 }
		a := w.join(settings)
		w.produce(2000, mixed)
		time.Sleep(10 * time.Second)
		b := w.join(settings)
		time.Sleep(4 * time.Second) // a gives partitions up, for 8 seconds more
		c := w.join(settings)
		time.Sleep(time.Second)
		told := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Observe: true})
		left := time.Now()
		c.stop()
		if err := <-c.done; err != nil {
			t.Errorf("left: %v", err)
		}
		if took := time.Since(left); took > leaveTimeout {
			t.Errorf("leaving took %v", took)
		}
		if n := told.Hits(); n != 1 {
			t.Errorf("the group was told %d times", n)
		}
		c.end()
		w.settled(time.Hour)
		a.finish(t)
		b.finish(t)
		w.sentOnce()
	})
}

// The client joins again while the last commit is made.
func TestLastCommitIsRepeatedInTheNewGeneration(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		slow(w, 300*time.Millisecond)
		m := w.join(nil)
		w.produce(500, nil)
		time.Sleep(time.Second)
		m.stop()
		time.Sleep(100 * time.Millisecond)
		refused := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.IllegalGeneration, Count: 3})
		m.leave(t)
		if refused.Hits() == 0 {
			t.Error("no commit was refused: the test shows nothing")
		}
		if got := w.committed(); got != 500 {
			t.Errorf("committed %d offsets of 500", got)
		}
	})
}

func TestPressureSealsEarlyAndDeliversOn(t *testing.T) {
	inWorld(t, 20, func(w *world) {
		slow(w, 100*time.Millisecond)
		m := w.join(func(c *Config, s *sink.Config) {
			c.Budget, s.Metrics = sink.NewBudget(16<<10), nil
			c.MaxAge, c.MaxEvents = time.Hour, 100000
		})
		w.produce(5000, nil)
		time.Sleep(10 * time.Second)
		if n := testutil.ToFloat64(m.metrics.batches.WithLabelValues(sealPressure)); n == 0 {
			t.Error("nothing was sealed early: the test shows nothing")
		}
		m.leave(t)
		w.settled(time.Minute)
	})
}

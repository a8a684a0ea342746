package consumer

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// idleIntake returns an intake at offset 0 without a goroutine. The client of its session does not
// connect.
func idleIntake(t *testing.T, cuts ...int64) *intake {
	t.Helper()
	s := idleSession(t)
	in := s.newPartition(start{topicPartition: topicPartition{testTopic, 0}, committed: true, cuts: cuts}, "member")
	s.partitions[in.topicPartition] = in.partition
	return in
}

func idleSession(t *testing.T) *session {
	t.Helper()
	mapping, err := transform.Compile(transform.Config{Schema: 3})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{
		Topics: []string{testTopic}, Group: testGroup, SessionTimeout: time.Second,
		MaxEvents: 10, MaxBytes: 1 << 20, MaxAge: time.Hour,
		Mapping: mapping, Sink: &sink.Client{}, Budget: sink.NewBudget(1 << 20),
		Registry: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	env := &environment{cfg: &c.cfg, log: c.log, metrics: c.metrics, health: c.health,
		rejects: c.rejects, memory: &memory{budget: c.cfg.Budget}, formats: newFormats(c.health),
		topics: &topics{health: c.health, recreations: c.metrics.recreations, log: c.log,
			known: map[string]knownTopic{}}}
	s, err := newSession(env, map[string]topicID{testTopic: {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cancelClient()
		s.client.CloseAllowingRebalance()
	})
	return s
}

// mapOffsets makes the intake map records with one event each, and returns the ends of the batches
// in its window.
func (in *intake) mapOffsets(offsets ...int64) (ends []int64) {
	for _, offset := range offsets {
		in.mapRecord(&kgo.Record{Topic: in.topic, Offset: offset, Value: track(int(offset)),
			Timestamp: time.UnixMilli(1)})
	}
	in.updateBudget()
	in.publishFloor()
	for _, b := range in.window.batches {
		ends = append(ends, b.next)
	}
	return ends
}

// offsets returns the offsets in [from, to).
func offsets(from, to int64) (all []int64) {
	for ; from < to; from++ {
		all = append(all, from)
	}
	return all
}

func TestRangeUpToARecordedCutIsSealedWhole(t *testing.T) {
	in := idleIntake(t, 30, 45)
	in.mapOffsets(offsets(0, 20)...)
	in.onAge() // batch.max_age has passed, but the log continues
	in.end.setListed(60, time.Now().Add(time.Second))
	in.onAge()
	in.end.setListed(20, in.open.opened.Add(-time.Second)) // before the range was opened
	in.onAge()
	if got := in.mapOffsets(offsets(20, 60)...); !slices.Equal(got, []int64{30, 45, 55}) {
		t.Errorf("sealed at %v, want the recorded cuts 30 and 45, and 55 because the batch is full", got)
	}
}

func TestCutBeyondTheEndOfTheLogIsDropped(t *testing.T) {
	in := idleIntake(t, 30)
	in.mapOffsets(offsets(0, 20)...)
	in.end.setListed(20, time.Now().Add(time.Second)) // the records up to the cut are lost
	in.onAge()
	if got := in.mapOffsets(); !slices.Equal(got, []int64{20}) {
		t.Errorf("sealed at %v, want 20", got)
	}
}

func TestCutInAGapIsKept(t *testing.T) {
	in := idleIntake(t, 3, 6, 9)
	if got := in.mapOffsets(0, 1, 7, 8, 9); !slices.Equal(got, []int64{3, 9}) {
		t.Errorf("sealed at %v, want 3 and 9; the range in between is empty", got)
	}
	if e := in.window.batches[1]; e.first.offset != 6 {
		t.Errorf("the second range begins at %d, want 6", e.first.offset)
	}
}

func TestCommitKeepsCutsNotReachedYet(t *testing.T) {
	in := idleIntake(t, 5, 10, 20)
	in.mapOffsets(offsets(0, 7)...)
	if s, _ := in.window.snapshot(); s.offset != 0 || s.metadata != "v1 +5 +5 +10" {
		t.Errorf("snapshot %+v", s)
	}
	s, _ := in.window.snapshot()
	in.window.endSend(in.window.applyCommit(s, time.Now())[0], true)
	if s, _ := in.window.snapshot(); s.offset != 5 || s.metadata != "v1 +5 +10" {
		t.Errorf("snapshot %+v", s)
	}
}

func TestFloorStaysBetweenRecordedCuts(t *testing.T) {
	in := idleIntake(t, 10)
	page := func(offset int64) {
		in.mapRecord(&kgo.Record{Offset: offset, Value: page(0), Timestamp: time.UnixMilli(1)})
	}
	page(0)
	page(1)
	in.publishFloor()
	in.mapOffsets(offsets(2, 10)...)
	if e := in.window.batches[0]; e.first.offset != 0 || e.next != 10 {
		t.Errorf("range %d to %d, want the recorded range 0 to 10", e.first.offset, e.next)
	}
}

// Only a new start can tell whether the log was truncated or the client read it twice.
func TestRepeatedOffsetEndsTheSession(t *testing.T) {
	in := idleIntake(t)
	var cause string
	in.endSession = func(c string, _ error) { cause = c }
	in.mapOffsets(offsets(0, 5)...)
	in.mapChunk(chunk{records: []*kgo.Record{{Topic: in.topic, Offset: 3, Value: track(3), LeaderEpoch: 1}}})
	if cause != endPosition || in.next.offset != 5 {
		t.Errorf("session ended for cause %q at next offset %d", cause, in.next.offset)
	}
}

func TestPartitionAssignedWhileBeingReadEndsTheSession(t *testing.T) {
	s := idleSession(t)
	again := []start{{topicPartition: topicPartition{testTopic, 0}, committed: true}}
	if _, err := s.startPartitions(again); err != nil {
		t.Fatal(err)
	}
	unread := s.all()[0]
	if _, err := s.startPartitions(again); err != nil || s.all()[0] == unread {
		t.Errorf("unread partition was not replaced: %v", err)
	}
	s.all()[0].queue.push(chunk{})
	if _, err := s.startPartitions(again); err == nil || s.cause != endAssignment {
		t.Errorf("session ended for cause %q (%v)", s.cause, err)
	}
	s.drop(s.all())
}

func TestPartOfARecordedRangeIsNotSealedUnderPressure(t *testing.T) {
	in := idleIntake(t, 30)
	in.mapOffsets(offsets(0, 20)...)
	in.memory.addOpen(1 << 20) // the budget is used up
	go in.run()
	time.Sleep(20 * time.Millisecond)
	in.stopIntake()
	<-in.stopped
	if n := len(in.window.batches); n > 0 {
		t.Errorf("%d batches sealed, want 0", n)
	}
}

func TestPausedPartitionBlocksNoOther(t *testing.T) {
	in := idleIntake(t)
	in.queue.setStuck(time.Now().Add(-time.Second))
	in.queue.push(chunk{bytes: 1000})
	in.queue.push(chunk{bytes: 1000})
	if n := in.queue.queued.Load(); n != 0 {
		t.Errorf("%d bytes count for the other partitions, want 0", n)
	}
}

// Polled records are bounded on their own, and together with the bodies that they will become.
func TestPollingWaitsForQueuedRecords(t *testing.T) {
	for _, test := range []struct {
		budget       int64
		queued, used int
	}{{2 * maxQueued, maxQueued, 0}, {1 << 20, 1000, 1<<20 - 1000}} {
		memory := &memory{budget: sink.NewBudget(test.budget)}
		poller := &poller{session: &session{environment: &environment{health: newHealth(zap.NewNop()), memory: memory}}}
		poller.queued.Store(int64(test.queued))
		memory.addOpen(test.used)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if poller.waitToPoll(ctx) {
			t.Errorf("polled again with %d bytes queued and %d of %d used", test.queued, test.used, test.budget)
		}
		cancel()
	}
}

func TestPartOfARecordedRangeIsLeftToTheNextOwner(t *testing.T) {
	in := idleIntake(t, 30)
	in.mapOffsets(offsets(0, 20)...)
	in.stopIntake()
	in.run()
	if n := len(in.window.batches); n > 0 {
		t.Errorf("%d batches sealed, want 0", n)
	}
	if s, _ := in.window.snapshot(); s.offset != 0 || s.metadata != "v1 +30" {
		t.Errorf("snapshot %+v", s)
	}
}

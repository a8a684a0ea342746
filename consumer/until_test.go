package consumer

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// ended waits until a member's run ends on its own, and fails the test unless its error is want.
func (m *member) ended(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-m.done:
		if !errors.Is(err, want) {
			t.Errorf("Run returned %v, want %v", err, want)
		}
	case <-time.After(5 * time.Minute):
		t.Errorf("Run has not ended: %+v", m.Status())
		m.abort()
	}
	m.end()
}

// finished fails the test if err, the result of the member's run, is not nil.
func (m *member) finished(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("Run returned %v", err)
	}
	m.end()
}

// until returns a change to a configuration that sets the end of the run.
func until(end time.Time) func(*Config, *sink.Config) {
	return func(c *Config, _ *sink.Config) { c.Until = end }
}

// atEnd is a time that no record has, so that partitions end where their logs end.
func atEnd() time.Time { return time.Now().Add(time.Hour) }

func TestRunEndsAtATime(t *testing.T) {
	onBothProtocols(t, 6, func(w *world, protocol func(*Config)) {
		w.produce(2990, nil)
		time.Sleep(time.Minute)
		w.produce(10, nil)
		end := time.Now().Add(time.Millisecond / 2) // Kafka's timestamps have milliseconds
		time.Sleep(time.Millisecond)
		w.produce(600, nil)
		var members []*member
		for range 3 {
			members = append(members, w.join(func(c *Config, _ *sink.Config) {
				protocol(c)
				c.Until = end
			}))
		}
		for _, m := range members {
			m.ended(w.t, nil)
		}
		if n := w.ld.Report().Processed; n != 3000 {
			w.t.Errorf("%d events counted, want the 3000 before the end", n)
		}
		if n := w.committed(); n != 3000 {
			w.t.Errorf("committed %d offsets, want 3000", n)
		}
		w.checkSentOnce()
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) }) // the group continues after the end
		w.awaitDelivered(time.Minute)
		m.leave(w.t)
	})
}

// LaunchDarkly does not accept the events of one partition. The member that owns the other
// partition ends, but not before the group would have detected a crash.
func TestMemberEndsWhileOthersDeliver(t *testing.T) {
	onBothProtocols(t, 2, func(w *world, protocol func(*Config)) {
		w.produce(200, nil)
		block := true
		bounded := func(c *Config, s *sink.Config) {
			protocol(c)
			c.Until = atEnd()
			if block {
				s.Transport = stuck{s.Transport, w, 1}
			}
		}
		begun := time.Now()
		members := []*member{w.join(bounded), w.join(bounded)}
		var took time.Duration
		rest := members[0]
		select {
		case err := <-members[0].done:
			took, rest = time.Since(begun), members[1]
			members[0].finished(w.t, err)
		case err := <-members[1].done:
			took = time.Since(begun)
			members[1].finished(w.t, err)
		case <-time.After(5 * time.Minute):
			w.t.Fatal("no member has ended")
		}
		if took < rest.cfg.crashTimeout() {
			w.t.Errorf("ended after %v, although a crashed member could still own a partition", took)
		}
		rest.abort()
		rest.end()
		block = false
		w.join(bounded).ended(w.t, nil)
		w.awaitDelivered(time.Second)
	})
}

// A fifth of the requests fail, and one member crashes midway and is started again.
func TestRunWithFaultsEndsWithoutLossOrDuplicates(t *testing.T) {
	onBothProtocols(t, 6, func(w *world, protocol func(*Config)) {
		bounded := func(c *Config, s *sink.Config) {
			protocol(c)
			c.Until, s.MaxEventsPerSecond = atEnd(), 50
		}
		w.produce(6000, mixed)
		w.ld.Random(1, 0.2, ldtest.Fault{Status: 503}, ldtest.Fault{Kind: ldtest.Reset}, ldtest.Fault{Kind: ldtest.Hang})
		crashed := w.join(bounded)
		others := []*member{w.join(bounded), w.join(bounded)}
		time.Sleep(10 * time.Second)
		crashed.kill()
		crashed.abort()
		time.Sleep(time.Second)
		for _, m := range append(others, w.join(bounded)) {
			m.ended(w.t, nil)
		}
		w.awaitDelivered(time.Second)
		if n := w.committed(); n != 6000 {
			w.t.Errorf("committed %d offsets, want 6000", n)
		}
	})
}

func TestMemberWithoutPartitionsEndsWithTheGroup(t *testing.T) {
	onBothProtocols(t, 1, func(w *world, protocol func(*Config)) {
		bounded := func(c *Config, _ *sink.Config) {
			protocol(c)
			c.Until = atEnd()
		}
		w.produce(500, nil)
		w.ld.Down(unavailable)
		first := w.join(bounded)
		time.Sleep(10 * time.Second)
		second := w.join(bounded)
		time.Sleep(time.Minute)
		select {
		case err := <-second.done:
			w.t.Fatalf("the member without partitions ended before the others: %v", err)
		default:
		}
		first.kill() // after which the second member gets the partition
		first.abort()
		w.ld.Up()
		second.ended(w.t, nil)
		w.awaitDelivered(time.Second)
	})
}

// All partitions are complete, but another member, which does not end, owns them.
func TestMemberWithoutPartitionsEndsBesideAMemberThatRuns(t *testing.T) {
	onBothProtocols(t, 1, func(w *world, protocol func(*Config)) {
		w.produce(500, nil)
		running := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.awaitDelivered(time.Minute)
		idle := w.join(func(c *Config, _ *sink.Config) {
			protocol(c)
			c.Until = atEnd()
		})
		idle.ended(w.t, nil)
		running.leave(w.t)
	})
}

func TestRunOverEmptyPartitionsAndMarkersEnds(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		begun := time.Now()
		w.join(until(begun)).ended(w.t, nil) // no record
		if took := time.Since(begun); took > 5*time.Second {
			w.t.Errorf("the run took %v", took)
		}
		w.transaction(kgo.TryAbort)
		w.join(until(atEnd())).ended(w.t, nil)
		if n := w.committed(); n != 11 {
			w.t.Errorf("committed %d offsets, want 11, including the marker", n)
		}
		if n := w.ld.Report().Processed; n != 0 {
			w.t.Errorf("%d aborted events counted", n)
		}
	})
}

func TestRunStoppedBeforeItsEndFails(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(500, nil)
		w.ld.Down(unavailable)
		m := w.join(until(atEnd()))
		time.Sleep(10 * time.Second)
		m.stop()
		if err := <-m.done; err == nil {
			w.t.Error("Run returned no error")
		}
		m.end()
		w.ld.Up()
		w.join(until(atEnd())).ended(w.t, nil)
		w.awaitDelivered(time.Second)
	})
}

// A stop without batches in flight succeeds in a run without an end, but not in one with an end.
func TestRunStoppedWhileReadingFails(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.mute(int16(kmsg.Fetch), 0)
		w.produce(500, nil)
		m := w.join(until(atEnd()))
		time.Sleep(10 * time.Second)
		m.stop()
		if err := <-m.done; !errors.Is(err, errIncomplete) {
			w.t.Errorf("Run returned %v, want %v", err, errIncomplete)
		}
		m.end()
	})
}

func TestRunEndsWhenRetentionOvertakesIt(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(200, nil)
		w.join(until(atEnd())).ended(w.t, nil)
		w.produce(800, page)
		var readable atomic.Bool
		w.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, nil, !readable.Load()
		})
		m := w.join(until(atEnd()))
		time.Sleep(10 * time.Second)
		if err := w.cluster.DeleteRecords(testTopic, 0, 1000); err != nil {
			w.t.Fatal(err)
		}
		readable.Store(true)
		m.ended(w.t, nil)
		if s := m.Status(); s.Lost != 800 || s.Records != 0 || w.committed() != 1000 {
			w.t.Errorf("%d records read, %d lost, and %d committed, want 0, 800, and 1000", s.Records, s.Lost, w.committed())
		}
		rest := w.join(nil) // the committed offset is valid
		w.produce(10, nil)
		w.awaitDelivered(time.Minute)
		if n := testutil.ToFloat64(rest.metrics.moves.WithLabelValues(moveTruncated)); n > 0 {
			w.t.Error("the committed offset counts as truncated")
		}
		rest.leave(w.t)
	})
}

// The log was truncated below a cut that an earlier owner recorded. A single report of the leader
// proves nothing, because records can still be in flight to the intake.
func TestRunEndsWhenTheLogWasTruncated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := idleIntake(t, 30)
		in.until = 30
		in.mapOffsets(offsets(0, 20)...)
		go in.run()
		for _, end := range []int64{20, 30, 20} {
			in.bounds <- logBounds{0, end}
			synctest.Wait()
			if in.ended.Load() {
				t.Errorf("ended after a single report, log end %d", end)
			}
		}
		in.bounds <- logBounds{0, 20}
		synctest.Wait()
		in.stopIntake()
		<-in.stopped
		if !in.ended.Load() || in.metrics.lost.Load() != 10 {
			t.Errorf("ended: %v, lost: %d; want 10", in.ended.Load(), in.metrics.lost.Load())
		}
		if s, _ := in.window.snapshot(); len(in.window.batches) != 1 || s.metadata != "v1 +20" {
			t.Errorf("%d batches, metadata %q", len(in.window.batches), s.metadata)
		}
	})
}

// The log has no record at the end. The next owner must not conclude from the leader epoch of an
// earlier record that the log was truncated.
func TestEndInAGapHasNoLeaderEpoch(t *testing.T) {
	in := idleIntake(t)
	in.until = 30
	record := func(offset int64) *kgo.Record {
		return &kgo.Record{Topic: in.topic, Offset: offset, LeaderEpoch: 3, Value: page(0)}
	}
	in.queue.paused = true
	in.queue.resume = func() { t.Error("reading continues after the end") }
	in.mapChunk(chunk{records: []*kgo.Record{record(10), record(35), record(36)}})
	in.queue.pop()
	if s, _ := in.window.snapshot(); s.position != (position{30, -1}) || !in.ended.Load() {
		t.Errorf("position %+v, ended: %v", s.position, in.ended.Load())
	}
	if in.metrics.records.Load() != 1 {
		t.Errorf("%d records mapped, want 1", in.metrics.records.Load())
	}
}

func TestBoundsThatLeaveRecordsEndNothing(t *testing.T) {
	for _, c := range []struct {
		bounds      logBounds
		next, until int64
		want        int64 // -1 if the partition does not end
	}{
		{logBounds{0, 100}, 10, 50, -1},
		{logBounds{49, 100}, 10, 50, -1},
		{logBounds{50, 100}, 10, 50, 50},
		{logBounds{0, 40}, 10, 50, -1},
		{logBounds{0, 40}, 40, 50, 40},
		{logBounds{0, 50}, 50, 50, -1},
	} {
		at, short := c.bounds.endOf(c.next, c.until)
		if short != (c.want >= 0) || short && at != c.want {
			t.Errorf("%+v: ends at %d: %v", c, at, short)
		}
	}
}

func TestAddedPartitionsAreNotPartOfARunThatEnds(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(500, nil)
		w.ld.Down(unavailable)
		m := w.join(until(atEnd()))
		time.Sleep(10 * time.Second)
		w.addPartitions(2)
		w.produce(100, nil)
		time.Sleep(time.Minute)
		w.ld.Up()
		m.ended(w.t, nil)
		if n := w.ld.Report().Processed; n != 500 {
			w.t.Errorf("%d events counted, want the 500 at the start", n)
		}
		rest := w.join(nil)
		w.awaitDelivered(time.Minute)
		rest.leave(w.t)
	})
}

func TestRunFailsIfItsTopicVanishes(t *testing.T) {
	for name, want := range map[string]error{"deleted": errNoTopic, "recreated": errReplaced} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				w.produce(500, nil)
				w.ld.Down(unavailable)
				m := w.join(until(atEnd()))
				time.Sleep(10 * time.Second)
				if err := w.cluster.DeleteTopic(testTopic); err != nil {
					t.Fatal(err)
				}
				w.forget()
				if name == "recreated" {
					if err := w.cluster.CreateTopic(testTopic, 1, nil); err != nil {
						t.Fatal(err)
					}
				}
				m.ended(t, want)
			})
		})
	}
}

func TestRunOfAMissingTopicFails(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.join(func(c *Config, _ *sink.Config) {
			c.Until, c.Topics = atEnd(), []string{testTopic, "missing"}
		}).ended(t, errNoTopic)
	})
}

// A newly started broker knows no topics.
func TestTopicMissingForAMomentDoesNotFailARun(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		m := w.join(func(c *Config, _ *sink.Config) { c.Until, c.Topics = atEnd(), []string{"later"} })
		time.Sleep(time.Second)
		if err := w.cluster.CreateTopic("later", 1, nil); err != nil {
			t.Fatal(err)
		}
		m.ended(t, nil)
	})
}

// An earlier owner may have sent the batch already.
func TestRecordedBatchBeyondTheEndIsSentWhole(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(50, nil)
		time.Sleep(time.Second)
		end := time.Now()
		w.produce(50, nil)
		w.ld.Down(unavailable)
		crashed := w.join(nil) // seals and records one batch of 100 events
		time.Sleep(10 * time.Second)
		crashed.kill()
		crashed.abort()
		w.ld.Up()
		time.Sleep(time.Minute)
		w.join(until(end)).ended(w.t, nil)
		w.awaitDelivered(time.Second)
	})
}

// In a static group, the next owner does not have to wait for the session timeout.
func TestStaticMemberLeavesAtTheEnd(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(100, nil)
		w.join(func(c *Config, _ *sink.Config) { c.Until, c.InstanceID, c.SessionTimeout = atEnd(), "a", time.Minute }).
			ended(t, nil)
		w.produce(100, nil)
		m := w.join(nil)
		w.awaitDelivered(10 * time.Second)
		m.leave(t)
	})
}

// letter is what a test expects of a dead letter.
type letter struct{ reason, topic, partition, offset, call, attempts string }

// lettersIn returns the dead letters in a topic.
func (w *world) lettersIn(topic string) (all []letter) {
	w.t.Helper()
	records, err := kafkatest.ReadAll(context.Background(), w.brokers, topic, w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		all = append(all, letter{Reason(r), header(r, headerTopic), header(r, headerPartition), header(r, headerOffset),
			header(r, headerCall), header(r, headerAttempts)})
	}
	return all
}

// redrive redrives the dead letters with one reason, and returns the final status.
func (w *world) redrive(from, reason, failed string) Status {
	w.t.Helper()
	m := w.join(func(c *Config, _ *sink.Config) {
		c.Group, c.Topics, c.Redrive, c.RedriveReasons = "redrive-"+reason, []string{from}, true, []string{reason}
		c.DeadLetterTopic, c.Until = failed, atEnd()
	})
	m.ended(w.t, nil)
	return m.Status()
}

// Each call is in an array behind a call of another type. The first redrive comes before the cause
// is fixed.
func TestRedrivenLettersKeepTheirOriginAndCountAttempts(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		for _, topic := range []string{"again", "again2"} {
			if err := w.cluster.CreateTopic(topic, 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.produce(9, func(i int) []byte {
			call := []string{
				`{"type":"track","event":"e"}`, `{"type":"track","userId":"u"}`,
				`{"type":"track","event":"e","userId":"u","properties":3}`,
			}[i%3]
			return []byte(`[{"type":"page","userId":"u"},` + call + `]`)
		})
		w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic, c.Until = letters, atEnd() }).ended(t, nil)
		origin := letter{topic: testTopic, partition: "0", call: "1"}
		expect := func(topic, attempts string, reasons ...string) {
			t.Helper()
			var want []letter
			for offset := range 9 {
				l := origin
				l.reason, l.offset, l.attempts = reasons[offset%len(reasons)], strconv.Itoa(offset), attempts
				if l.reason != "" {
					want = append(want, l)
				}
			}
			if got := w.lettersIn(topic); !slices.Equal(got, want) {
				t.Errorf("dead letters in %s: %+v, want %+v", topic, got, want)
			}
		}
		expect(letters, "", "no_user_key", "no_event_name", "properties_not_object")
		w.redriven = true
		s := w.redrive(letters, "no_event_name", "again")
		if n := s.Calls[transform.NotSelected]; n != 6 || s.Records != 9 {
			t.Errorf("%d of %d records not selected, want 6 of 9", n, s.Records)
		}
		expect("again", "2", "", "no_event_name", "")
		w.redrive("again", "no_event_name", "again2")
		expect("again2", "3", "", "no_event_name", "")
		if s := w.redrive(letters, "no_event_name", "again"); s.Records != 0 {
			t.Errorf("%d dead letters redriven twice", s.Records)
		}
		w.redrive(letters, "no_user_key", "")
	})
}

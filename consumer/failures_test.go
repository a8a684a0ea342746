package consumer

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

func TestLatestSkipsNoRecordsBetweenTwoOwners(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.produce(100, page) // skipped, because the group did not exist yet
		latest := func(c *Config, _ *sink.Config) { c.Start.Latest = true }
		a := w.join(latest)
		time.Sleep(commitInterval / 2) // after the commit on assignment, but before the next one
		a.kill()
		w.produce(100, nil) // while there is no owner
		b := w.join(latest)
		w.awaitDelivered(time.Minute)
		a.abort()
		b.leave(t)
		if n := b.Status().Records + a.Status().Records; n != 100 {
			t.Errorf("mapped %v records, want the 100 produced after the first start", n)
		}
	})
}

// Latest applies only to the partitions that existed at the start, not to partitions added later.
func TestLatestReadsAddedPartitionsFromTheirStart(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.produce(100, page)
		m := w.join(func(c *Config, _ *sink.Config) { c.Start.Latest = true })
		time.Sleep(10 * time.Second)
		w.addPartitions(3)
		w.produce(500, nil) // to all partitions, before the group knows the new ones
		w.awaitDelivered(2 * metadataAge)
		m.leave(t)
		if n := m.Status().Records; n != 500 {
			t.Errorf("mapped %v records, want the 500 produced after the start", n)
		}
	})
}

// addPartitions adds n partitions to the topic.
func (w *world) addPartitions(n int) {
	w.t.Helper()
	client, err := kgo.NewClient(w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreatePartitions(context.Background(), n, testTopic); err != nil {
		w.t.Fatal(err)
	}
}

func TestStartsAtATime(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(50, page)
		time.Sleep(time.Hour)
		start := time.Now()
		w.produce(70, nil)
		m := w.join(func(c *Config, _ *sink.Config) { c.Start.Time = start })
		w.awaitDelivered(time.Minute)
		m.leave(t)
		if n := m.Status().Records; n != 70 {
			t.Errorf("mapped %v records, want 70", n)
		}
	})
}

func TestCommitsPassTransactionMarkersAndAbortedRecords(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
			w.transaction(end)
		}
		m := w.join(nil)
		w.awaitDelivered(time.Minute)
		time.Sleep(30 * time.Second)
		if s := m.Status().Partitions[0]; s.Lag != 0 || s.Watermark != s.End {
			t.Errorf("lag %d, watermark %d, end %d: the markers at the end were not passed", s.Lag, s.Watermark, s.End)
		}
		w.mu.Lock()
		if n := w.counted[strconv.Itoa(notTrack)]; n > 0 {
			t.Errorf("%d aborted events counted", n)
		}
		w.mu.Unlock()
		m.leave(t)
	})
}

// transaction produces ten events and then commits or aborts them.
func (w *world) transaction(end kgo.TransactionEndTry) {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.kafka(), kgo.TransactionalID("t"), kgo.DefaultProduceTopic(testTopic))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	for range 10 {
		number := notTrack
		if end == kgo.TryCommit {
			number = w.produced
			w.produced++
		}
		r, err := client.ProduceSync(context.Background(), &kgo.Record{Value: track(number)}).First()
		if err != nil {
			w.t.Fatal(err)
		}
		w.place(r, number)
	}
	if err := client.EndTransaction(context.Background(), end); err != nil {
		w.t.Fatal(err)
	}
}

// stuck is a transport that responds with 500 to requests with events of one partition.
type stuck struct {
	http.RoundTripper
	w         *world
	partition int32
}

func (s stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	unpacked, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	first := regexp.MustCompile(`"n":(\d+)`).FindSubmatch(raw)
	s.w.mu.Lock()
	place := s.w.places[string(first[1])]
	s.w.mu.Unlock()
	if place.partition == s.partition {
		return &http.Response{StatusCode: 500, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	}
	return s.RoundTripper.RoundTrip(r)
}

func TestGapBelowTheLogStartIsCountedAsLoss(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(300, nil)
		a := w.join(nil)
		w.awaitDelivered(time.Minute)
		a.leave(t)
		w.produce(200, page) // deleted before they are read
		if err := w.cluster.DeleteRecords(testTopic, 0, 400); err != nil {
			t.Fatal(err)
		}
		w.produce(100, nil)
		b := w.join(nil)
		w.awaitDelivered(time.Minute)
		if n := b.Status().Lost; n != 100 {
			t.Errorf("%v records counted as lost, want 100", n)
		}
		b.leave(t)
		w.checkSentOnce()
	})
}

func TestMissingTopicIsAProblemUntilItExists(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		m := w.join(func(c *Config, _ *sink.Config) { c.Topics = []string{testTopic, "later"} })
		time.Sleep(time.Minute)
		if p := strings.Join(m.Status().Problems, "\n"); !strings.Contains(p, "topic later does not exist") {
			t.Errorf("problems: %q", p)
		}
		if err := w.cluster.CreateTopic("later", 1, nil); err != nil {
			t.Fatal(err)
		}
		w.produce(100, nil, kgo.DefaultProduceTopic("later"))
		w.awaitDelivered(10 * time.Minute)
		time.Sleep(time.Minute)
		if p := m.Status().Problems; len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
		m.leave(t)
	})
}

func TestRecreatedTopicIsReadFromItsStart(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(func(c *Config, _ *sink.Config) { c.Start.Latest = true })
		time.Sleep(5 * time.Second)
		w.produce(500, nil)
		w.awaitDelivered(time.Minute)
		time.Sleep(5 * time.Second)
		if err := w.cluster.DeleteTopic(testTopic); err != nil {
			t.Fatal(err)
		}
		w.forget()
		if err := w.cluster.CreateTopic(testTopic, 2, nil); err != nil {
			t.Fatal(err)
		}
		w.produce(100, nil)
		w.awaitDelivered(10 * time.Minute)
		if n := testutil.ToFloat64(m.metrics.recreations); n != 1 {
			t.Errorf("%v recreations counted, want 1", n)
		}
		m.leave(t)
	})
}

// Older brokers accept commits by topic name, even for a topic that was deleted.
func TestCommitsOfADeletedTopicDoNotApplyToItsReplacement(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(func(c *Config, s *sink.Config) {
			s.BackoffMax = time.Second
			c.Client = append(c.Client, kgo.MaxVersions(kversion.V3_6_0()))
		})
		w.produce(500, nil)
		w.awaitDelivered(time.Minute)
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(500, nil)
		time.Sleep(3 * time.Second) // sealed and recorded
		if err := w.cluster.DeleteTopic(testTopic); err != nil {
			t.Fatal(err)
		}
		w.forget()
		if err := w.cluster.CreateTopic(testTopic, 2, nil); err != nil {
			t.Fatal(err)
		}
		w.ld.Up()
		w.produce(2000, nil)
		w.awaitDelivered(10 * time.Minute)
		m.leave(t)
		if got := w.committed(); got != 2000 {
			t.Errorf("committed %d of 2000 offsets", got)
		}
	})
}

func TestPoisonedEventIsTheOnlyDeadLetter(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.ld.Poison(ldtest.Containing(`"n":1234,`))
		w.produce(5000, nil)
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		w.expectRejected(1234)
		w.awaitDelivered(10 * time.Minute)
		m.finish(t)
		dead := w.readLetters()
		if len(dead) != 1 || !bytes.Equal(dead[0].Value, track(1234)) {
			t.Fatalf("%d dead letters, want the poisoned event", len(dead))
		}
		place := w.places["1234"]
		want := map[string]string{"s2ld.reason": "refused", "s2ld.status": "400", "s2ld.topic": testTopic,
			"s2ld.call":      "0",
			"s2ld.partition": strconv.Itoa(int(place.partition)), "s2ld.offset": strconv.FormatInt(place.offset, 10)}
		for key, value := range want {
			if got := header(dead[0], key); got != value {
				t.Errorf("header %s: %q, want %q", key, got, value)
			}
		}
		if got := w.committed(); got != 5000 {
			t.Errorf("committed %d of 5000 offsets", got)
		}
	})
}

func TestOnlyRejectedCallsAreDeadLetteredAndRedriven(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		// Only the second call in the array becomes a dead letter, because it has no event name.
		w.produce(1, func(int) []byte {
			return fmt.Appendf(nil, `[%s,{"type":"track","userId":"u","properties":{"n":7}},%s]`, page(0), page(0))
		})
		w.produce(1, func(int) []byte { return []byte(`{"type":`) })
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		m.leave(t)
		dead := w.readLetters()
		if len(dead) != 2 || header(dead[0], "s2ld.reason") != "no_event_name" || header(dead[0], "s2ld.call") != "1" ||
			header(dead[1], "s2ld.reason") != "malformed" {
			t.Fatalf("dead letters: %v", dead)
		}
		redrive := w.join(func(c *Config, _ *sink.Config) {
			c.Group, c.Topics, c.Redrive = "redrive", []string{letters}, true
		})
		time.Sleep(10 * time.Second)
		if n := redrive.Status().Records; n != 2 {
			t.Errorf("%v records redriven, want 2", n)
		}
		// The page calls in the array were filtered the first time.
		if n := redrive.Status().Calls[transform.NotTrack]; n != 0 {
			t.Errorf("%v calls redriven in addition to the rejected ones", n)
		}
		redrive.leave(t)
	})
}

func TestCommitWaitsForTheDeadLetter(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		broken := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: letters,
			Err: kerr.TopicAuthorizationFailed, Count: -1})
		w.produce(1, func(int) []byte { return []byte(`{"type":`) })
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		time.Sleep(10 * time.Minute)
		if n := w.committed(); n != 0 {
			t.Errorf("committed %d offsets before the dead letter was written", n)
		}
		if p := strings.Join(m.Status().Problems, "\n"); !strings.Contains(p, "Grant WRITE") {
			t.Errorf("problems: %q", p)
		}
		broken.Remove()
		time.Sleep(time.Minute)
		m.leave(t)
		if n := w.committed(); n != 1 || len(w.readLetters()) == 0 {
			t.Errorf("committed %d offsets, %d dead letters", n, len(w.readLetters()))
		}
	})
}

func TestMemoryIsBoundedWhileLaunchDarklyIsDown(t *testing.T) {
	inWorld(t, 20, func(w *world) {
		const limit = 128 << 10
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(20000, nil)
		m := w.join(func(c *Config, s *sink.Config) {
			c.Budget, c.Gzip = sink.NewBudget(limit), false // all events together are 3 MB
			s.Metrics = nil
		})
		for range 60 {
			time.Sleep(10 * time.Second)
			if used := m.cfg.Budget.Used(); used > 3*limit { // plus the records of one poll
				t.Errorf("budget use of %d bytes exceeds the limit of %d", used, limit)
				break
			}
		}
		if m.cfg.Budget.Used() == 0 {
			t.Error("test has no effect: no bytes held")
		}
		w.ld.Up()
		w.awaitDelivered(time.Hour)
		m.finish(t)
		if used := m.cfg.Budget.Used(); used != 0 {
			t.Errorf("%d bytes of the budget not released", used)
		}
		w.checkSentOnce()
	})
}

// Some brokers expire the offsets of groups that do not commit.
func TestUnchangedOffsetsAreCommittedAgain(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(nil)
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		commits := func() float64 { return testutil.ToFloat64(m.metrics.commits.WithLabelValues(resultOK)) }
		before := commits()
		time.Sleep(10 * refreshInterval)
		if n := commits() - before; n < 9 || n > 21 {
			t.Errorf("%v commits for two idle partitions in ten minutes", n)
		}
		m.leave(t)
	})
}

func TestMetricsPassLintAndAreRemovedWithThePartition(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		m := w.join(nil)
		w.produce(10, nil)
		w.awaitDelivered(time.Minute)
		problems, err := testutil.GatherAndLint(m.reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
		if n, _ := testutil.GatherAndCount(m.reg, "segment_launchdarkly_consumer_lag_records"); n != 3 {
			t.Errorf("%d partitions export their lag, want 3", n)
		}
		m.leave(t)
		if n, _ := testutil.GatherAndCount(m.reg, "segment_launchdarkly_consumer_lag_records"); n != 0 {
			t.Errorf("%d partitions export their lag after their release", n)
		}
	})
}

package sink

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// poisonedRun delivers 5,000 events in batches of 1,000. LaunchDarkly rejects one of the events. It
// returns the payload IDs of all requests, sorted.
func poisonedRun(t *testing.T, compress bool, poison int) (ids []string) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Poison(ldtest.Containing(fmt.Sprintf(`"n":%d,`, poison)))
		var batches []*Batch
		for range 5 {
			batches = append(batches, b.batchOf(1000, 1000, 0, compress))
		}
		b.deliver(batches...)
		took := b.settle(time.Minute)
		if took > 11*b.cfg.BackoffMin { // two attempts per part, and ten levels of halves
			t.Errorf("took %v", took)
		}
		if got := b.rejected(); !slices.Equal(got, []int{poison}) || b.deliveryErrors() != nil {
			t.Fatalf("rejected %v: %v, want %d only", got, b.deliveryErrors(), poison)
		}
		r := b.rejections[0]
		if batch := batches[poison/1000]; r.Batch != batch || r.Event != poison%1000 || r.Status != 400 ||
			string(r.Body) != string(event(3, poison, 0)) {
			t.Errorf("rejection %+v", r)
		}
		if n := len(b.counted()); n != 4999 {
			t.Errorf("%d events counted, want 4999", n)
		}
		if n := strings.Count(b.log.String(), "batch rejected by LaunchDarkly"); n != 1 {
			t.Errorf("%d rejected batches logged, want 1", n)
		}
		for _, r := range b.requests(0) {
			ids = append(ids, r.PayloadID)
		}
		if b.gauge("events_refused_total") != 1 || b.client.Status().Rejected != 1 ||
			b.gauge("events_delivered_total") != 4999 || b.gauge("splits_total") < 9 {
			t.Error("the metrics do not match")
		}
	})
	slices.Sort(ids)
	return ids
}

func TestOnlyThePoisonedEventIsSetAsideWithTheSameSplits(t *testing.T) {
	for i, poison := range []int{0, 499, 500, 2500, 2711, 4999} {
		first := poisonedRun(t, i%2 == 0, poison)
		if again := poisonedRun(t, i%2 == 0, poison); !slices.Equal(first, again) {
			t.Errorf("event %d: different payload IDs the second time", poison)
		}
		if bodies := slices.Compact(slices.Clone(first)); len(first) > 40 || len(bodies) < 20 {
			t.Errorf("event %d: %d requests, %d bodies", poison, len(first), len(bodies))
		}
	}
}

func TestAllEventsAreSetAsideIfAllArePoisoned(t *testing.T) {
	onEachEndpoint(t, func(b *bubble) {
		b.ld.Poison(func([]byte) bool { return true })
		b.deliver(b.batch(37), b.batch(1))
		b.settle(time.Minute)
		if n := len(b.rejected()); n != 38 {
			b.t.Errorf("%d events were rejected, want 38", n)
		}
	})
}

func TestBodyThatIsTooLargeIsSplitWithoutARetry(t *testing.T) {
	onEachEndpoint(t, func(b *bubble) {
		b.ld.Limit(3000)
		started := time.Now()
		b.deliver(b.batch(200))
		if n := b.unfinished(); n != 0 || time.Since(started) != 0 {
			b.t.Errorf("%d batches unfinished", n)
		}
		seen := map[string]bool{}
		for _, r := range b.requests(0) {
			if seen[r.PayloadID] {
				b.t.Error("a body was sent twice")
			}
			seen[r.PayloadID] = true
		}
		if len(b.rejected()) != 0 || len(b.counted()) != 200 {
			b.t.Errorf("%d events rejected, %d of 200 counted", len(b.rejected()), len(b.counted()))
		}
	})
}

// Otherwise LaunchDarkly could double memory usage by responding with 413 to everything.
func TestWholeBodyIsReleasedAfterASplit(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Status: 413})
		batch := b.batch(10)
		b.deliver(batch)
		b.settle(time.Minute)
		if batch.whole.body != nil {
			t.Error("the whole body is still retained")
		}
	})
}

func TestEventThatIsTooLargeIsSetAside(t *testing.T) {
	onEachEndpoint(t, func(b *bubble) {
		b.ld.Limit(1000)
		b.deliver(b.batchOf(2, 2, 1000, true), b.batch(1))
		b.settle(time.Minute)
		if len(b.rejected()) != 2 || b.rejections[0].Status != 413 || len(b.counted()) != 1 {
			b.t.Errorf("rejected %v, counted %v", b.rejected(), b.counted())
		}
	})
}

// A body is split only after it was rejected twice in a row.
func TestSingleRejectionSplitsNothing(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Script(ldtest.Fault{Status: 400, Accepted: accepted})
			b.deliver(b.batch(100))
			b.settle(time.Minute)
			if n := len(b.requests(0)); n != 2 || b.gauge("splits_total") != 0 {
				t.Errorf("%d requests, %v splits", n, b.gauge("splits_total"))
			}
		})
	}
}

func TestErrorFromRejectedFailsTheDelivery(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		full := errors.New("the dead-letter topic is full")
		b.rejectErr = full
		b.ld.Poison(ldtest.Containing(`"n":7,`))
		b.deliver(b.batch(10), b.batch(10))
		b.settle(time.Minute)
		if err := b.deliveryErrors(); !errors.Is(err, full) {
			t.Errorf("finished with %v", err)
		}
		if n := len(b.counted()); n != 19 {
			t.Errorf("%d events counted, want the other 19", n)
		}
	})
}

// An early error is kept although another part is delivered.
func TestEarlyErrorFromRejectedFailsTheDelivery(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxInFlight = 1 }, func(b *bubble) {
		b.rejectErr = errors.New("the dead-letter topic is full")
		statuses := []int{413, 413, 503} // for the whole batch, its left half, its right half
		b.respondWith(func(r *http.Request) *http.Response {
			if len(statuses) == 0 {
				return nil
			}
			status := statuses[0]
			statuses = statuses[1:]
			return withStatus(status, r)
		})
		b.deliver(b.batch(2))
		b.settle(time.Minute)
		if err := b.deliveryErrors(); !errors.Is(err, b.rejectErr) || len(b.counted()) != 1 {
			t.Errorf("finished with %v, %d events counted", err, len(b.counted()))
		}
	})
}

func TestPartsAreRetriedThroughFaults(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Random(1, 0.3)
		b.ld.Limit(20_000)
		b.ld.Poison(ldtest.Containing(`"n":777,`))
		for range 3 {
			b.deliver(b.batch(500))
		}
		b.settle(time.Hour)
		if got := b.rejected(); !slices.Equal(got, []int{777}) || len(b.counted()) != 1499 {
			t.Errorf("rejected %v, %d counted", got, len(b.counted()))
		}
	})
}

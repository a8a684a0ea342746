package sink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestRejectionOfTheDestinationHaltsAndDropsNothing(t *testing.T) {
	for _, status := range []int{401, 403, 404, 406, 301, 302, 307, 308} {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprint(status, accepted), func(t *testing.T) {
				onEachEndpoint(t, func(b *bubble) {
					started := time.Now()
					b.ld.Down(ldtest.Fault{Status: status, Accepted: accepted})
					const batches = 50
					b.many(batches)
					time.Sleep(time.Hour)
					if n := b.unfinished(); n != batches {
						b.t.Errorf("%d of %d deliveries finished while halted: %v",
							batches-n, batches, b.deliveryErrors())
					}
					if h := b.client.Halted(); !h.Since.Equal(started) ||
						!strings.HasPrefix(h.Cause, fmt.Sprint(status)) {
						b.t.Errorf("halted %+v, want since %v", h, started)
					}
					if b.gauge("halted") != 1 || b.gauge("halts_total") != 1 || b.gauge("events_delivered_total") != 0 {
						b.t.Error("the metrics do not show exactly one halt")
					}
					requests := b.requests(0)
					for i, r := range requests[16:] { // the first 16 were sent concurrently
						wait := r.Time.Sub(requests[15+i].Time)
						if wait < maxProbeInterval/2 || wait > maxProbeInterval {
							b.t.Errorf("probed after %v", wait)
						}
					}
					if n := len(requests); n < 420 { // 480 expected
						b.t.Errorf("only %d probes in an hour", n)
					}
					b.ld.Up()
					b.settle(b.cfg.BackoffMax)
					if h := b.client.Halted(); !h.Since.IsZero() || b.gauge("halted") != 0 {
						b.t.Errorf("still halted: %+v", h)
					}
					if n := len(b.counted()); n != batches || b.deliveryErrors() != nil {
						b.t.Errorf("%d of %d events counted: %v", n, batches, b.deliveryErrors())
					}
				})
			})
		}
	}
}

// If a proxy rejects every request, the client must halt before it has set aside the whole topic.
func TestConsecutiveRejectsHalt(t *testing.T) {
	for _, status := range []int{400, 413} {
		onEachEndpoint(t, func(b *bubble) {
			b.ld.Down(ldtest.Fault{Status: status})
			for range 10 {
				b.deliver(b.batch(100))
			}
			time.Sleep(time.Hour)
			if n := len(b.rejected()); n != maxConsecutiveRejects {
				b.t.Errorf("%d: %d events set aside, want %d", status, n, maxConsecutiveRejects)
			}
			if h := b.client.Halted(); h.Since.IsZero() || !strings.HasPrefix(h.Cause, fmt.Sprint(status)) {
				b.t.Errorf("%d: halted %+v", status, h)
			}
			b.ld.Up()
			b.settle(b.cfg.BackoffMax)
			if n := len(b.counted()); n != 1000-maxConsecutiveRejects || !b.client.Halted().Since.IsZero() {
				b.t.Errorf("%d: %d events counted, halted %+v", status, n, b.client.Halted())
			}
		})
	}
}

// Even if many events are invalid, other batches wait for at most one probe.
func TestManyRejectedEventsDelayNoOther(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Poison(ldtest.Containing(strings.Repeat("x", 50)))
		b.deliver(b.batchOf(1000, 1000, 50, true))
		time.Sleep(10 * time.Minute)
		for n := 1; n < 10; n++ {
			if got := len(b.rejected()); got != n*maxConsecutiveRejects {
				t.Fatalf("%d events set aside, want %d", got, n*maxConsecutiveRejects)
			}
			good := b.batch(1)
			b.deliver(good)
			time.Sleep(b.cfg.BackoffMax)
			if got := len(b.counted()); got != n {
				t.Fatalf("%d good events counted, want %d", got, n)
			}
			time.Sleep(10 * time.Minute)
		}
		b.settle(time.Hour)
		if got := len(b.rejected()); got != 1000 {
			t.Errorf("%d events set aside, want 1000", got)
		}
	})
}

// The same applies if each invalid event is a batch of its own.
func TestManyRejectedBatchesDelayNoOther(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Poison(ldtest.Containing(strings.Repeat("x", 50)))
		flood := func(batches int) {
			for range batches {
				b.deliver(b.batchOf(1, 1, 50, false))
			}
			time.Sleep(30 * time.Minute)
		}
		flood(3*maxConsecutiveRejects - 40)
		for n := range 2 {
			flood(20) // during the halt
			if got := len(b.rejected()); got != (n+1)*maxConsecutiveRejects || b.client.Halted().Since.IsZero() {
				b.t.Fatalf("%d events set aside, want %d and a halt", got, (n+1)*maxConsecutiveRejects)
			}
			b.many(1)
			time.Sleep(b.cfg.BackoffMax)
			if got := len(b.counted()); got != n+1 {
				b.t.Fatalf("%d good events counted, want %d", got, n+1)
			}
		}
		b.settle(time.Hour)
	})
}

// gauge returns the value of a metric without labels.
func (b *bubble) gauge(name string) float64 {
	b.t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "segment_launchdarkly_sink_"+name {
			return f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
		}
	}
	b.t.Fatalf("no metric %s", name)
	return 0
}

// The log contains one entry for the start of a halt or an outage, and one for the recovery.
func TestLogContainsStartAndEndOfAFailureSeries(t *testing.T) {
	for _, c := range []struct {
		fault             ldtest.Fault
		level, start, end string
	}{
		{ldtest.Fault{Status: 401}, "error", "delivery halted", "LaunchDarkly available again"},
		{ldtest.Fault{Status: 503}, "warn", "LaunchDarkly unavailable", "LaunchDarkly available again"},
		{ldtest.Fault{Kind: ldtest.Reset}, "warn", "LaunchDarkly unavailable", "LaunchDarkly available again"},
	} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(c.fault)
			b.many(100)
			time.Sleep(time.Hour)
			b.requests(0)
			b.ld.Up()
			b.settle(2 * b.cfg.BackoffMax)
			lines := b.logged()
			if len(lines) != 2 {
				b.t.Fatalf("%v: %d lines, want 2: %s", c.fault, len(lines), strings.Join(lines, ""))
			}
			for _, want := range []string{
				c.start, `"level":"` + c.level + `"`, `"topic":`, `"partition":`, `"offset":`, `"next_offset":`,
				`"events":`, `"bytes":`, `"attempt":`, `"status":`, `"response":`,
			} {
				if !strings.Contains(lines[0], want) {
					t.Errorf("%v: no %s in %s", c.fault, want, lines[0])
				}
			}
			if !strings.Contains(lines[1], c.end) {
				t.Errorf("%v: no %s in %s", c.fault, c.end, lines[1])
			}
		})
	}
}

func TestLastDeliveryIsExported(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		if got := b.gauge("last_delivery_timestamp_seconds"); got != 0 {
			t.Errorf("%v before the first delivery", got)
		}
		time.Sleep(time.Minute)
		b.many(1)
		b.requests(0)
		if got := testutil.ToFloat64(b.cfg.Metrics.lastDelivery); got != float64(time.Now().Unix()) {
			t.Errorf("%v, want %v", got, time.Now().Unix())
		}
	})
}

package sink

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestIsolatedFailuresAreLoggedOnlyAtDebugLevel(t *testing.T) {
	for _, every := range []time.Duration{10 * time.Millisecond, 10 * time.Second} {
		for _, status := range []int{429, 503} {
			inBubble(t, nil, func(b *bubble) {
				b.slow(100 * time.Millisecond)
				var requests atomic.Int64
				b.respondWith(func(r *http.Request) *http.Response {
					if requests.Add(1)%100 == 0 {
						return withStatus(status, r)
					}
					return nil
				})
				const batches = 1000
				for range batches {
					b.many(1)
					time.Sleep(every)
				}
				b.settle(time.Minute)
				if n := b.requestsWith(status); n < batches/100 {
					t.Errorf("%d requests failed: the test proves nothing", n)
				}
				if n := strings.Count(b.log.String(), `"request failed, retrying"`); n != b.requestsWith(status) {
					t.Errorf("%d of %d failures logged at debug level", n, b.requestsWith(status))
				}
				if lines := b.logged(); lines != nil {
					t.Errorf("every %v, %d: %s", every, status, strings.Join(lines, ""))
				}
			})
		}
	}
}

func TestOutageIsLoggedOnceAndWithinSeconds(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 503}, {Status: 429, RetryAfter: "600"}, {Kind: ldtest.Reset}, {Kind: ldtest.Hang},
	} {
		for _, batches := range []int{1, 100} {
			inBubble(t, nil, func(b *bubble) {
				for outage := 1; outage <= 2; outage++ {
					b.ld.Down(fault)
					b.many(batches)
					if fault.Kind == ldtest.Hang {
						time.Sleep(b.cfg.Timeout)
					}
					time.Sleep(outageAfter - time.Millisecond)
					if lines := b.logged(); len(lines) != 2*outage-2 {
						t.Errorf("%v, %d batches: logged too early: %s", fault, batches, strings.Join(lines, ""))
					}
					time.Sleep(time.Millisecond)
					if lines := b.logged(); len(lines) != 2*outage-1 || !strings.Contains(lines[2*outage-2], "unavailable") {
						t.Fatalf("%v, %d batches: %s", fault, batches, strings.Join(lines, ""))
					}
					time.Sleep(time.Hour)
					b.ld.Up()
					b.settle(time.Hour)
					if lines := b.logged(); len(lines) != 2*outage || !strings.Contains(lines[2*outage-1], "available again") {
						t.Fatalf("%v, %d batches: %s", fault, batches, strings.Join(lines, ""))
					}
				}
			})
		}
	}
}

// The latest request has failed, but no batch is waiting for a retry.
func TestFailureOfAReleasedBatchIsNoOutage(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Down(ldtest.Fault{Status: 503})
		ctx, cancel := context.WithCancel(b.ctx)
		b.deliverIn(ctx, b.batch(1))
		b.requests(0)
		cancel()
		time.Sleep(time.Hour)
		if lines := b.logged(); lines != nil {
			t.Errorf("logged after the release: %s", strings.Join(lines, ""))
		}
		b.many(1)
		time.Sleep(outageAfter)
		if lines := b.logged(); len(lines) != 1 {
			t.Errorf("%d lines, want one about the outage: %s", len(lines), strings.Join(lines, ""))
		}
		b.ld.Up()
		b.settle(time.Hour)
	})
}

// The runbook refers to the log for LaunchDarkly's response to a stuck batch.
func TestStuckBatchesAreLoggedOncePerMinute(t *testing.T) {
	for _, stuck := range []int{1, maxStrayFailures} {
		inBubble(t, nil, func(b *bubble) {
			var batches []*Batch
			for range stuck {
				batches = append(batches, b.batch(1))
			}
			b.stick(batches...)
			b.deliver(batches...)
			const minutes = 30
			for range minutes * 60 {
				b.many(1)
				time.Sleep(time.Second)
			}
			lines := b.logged()
			if n := len(lines); n < minutes/3 || n > minutes {
				t.Errorf("%d lines about %d stuck batches in %d minutes", n, stuck, minutes)
			}
			for _, line := range lines {
				if !strings.Contains(line, "batch fails repeatedly") || !strings.Contains(line, `"status":500`) {
					t.Errorf("%d stuck batches: %s", stuck, line)
				}
			}
			b.respondWith(nil)
			b.settle(time.Hour)
		})
	}
}

package sink

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// A web application firewall rejects one batch because of its content. That halts delivery at most
// once, because at first it looks like a rejection of the credentials.
func TestBatchRejectedByAFirewallDelaysNoOther(t *testing.T) {
	for _, inFlight := range []int{1, 16} {
		for _, every := range []time.Duration{time.Second, 40 * time.Second, 7 * time.Minute} {
			t.Run(fmt.Sprint(inFlight, every), func(t *testing.T) {
				inBubble(t, func(c *Config) { c.MaxInFlight = inFlight }, func(b *bubble) {
					stuck := b.batch(1)
					b.stickWith(403, stuck)
					b.deliver(stuck)
					const others = 150
					first := time.Now()
					time.Sleep(every)
					b.many(1)
					time.Sleep(b.cfg.BackoffMax)
					for range others - 1 {
						time.Sleep(every)
						b.many(1)
						if n := b.unfinished(); n != 1 {
							b.t.Fatalf("%d batches wait for the rejected one, %v after it was first sent",
								n-1, time.Since(first))
						}
					}
					if n := b.gauge("halts_total"); n > 1 {
						t.Errorf("%v halts in %v", n, time.Since(first))
					}
					if h := b.client.Halted(); !h.Since.IsZero() {
						t.Errorf("halted: %+v", h)
					}
					sent := b.requestsWith(403)
					if most := 2*int(time.Since(first)/b.cfg.BackoffMax) + 40; sent < 3 || sent > 2*most {
						t.Errorf("the rejected batch was sent %d times in %v", sent, time.Since(first))
					}
					if n := len(b.counted()); n != others {
						t.Errorf("%d of %d events counted", n, others)
					}
					b.respondWith(nil)
					b.settle(b.cfg.BackoffMax)
				})
			})
		}
	}
}

// requestsWith returns the number of requests with the given status.
func (b *bubble) requestsWith(status int) int {
	return int(testutil.ToFloat64(b.cfg.Metrics.requests.WithLabelValues(fmt.Sprint(status))))
}

// If LaunchDarkly accepts another batch in the meantime, the destination is not at fault.
func TestRejectedBatchDoesNotHaltWhileOthersAreAccepted(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.slow(time.Second)
		stuck := b.batch(1)
		b.stickWith(403, stuck)
		respond := b.respond
		b.respondWith(func(r *http.Request) *http.Response {
			response := respond(r)
			if response != nil {
				time.Sleep(1100 * time.Millisecond) // until the other batch is accepted
			}
			return response
		})
		b.deliver(stuck)
		b.many(1)
		time.Sleep(1200 * time.Millisecond)
		b.many(50)
		b.respondWith(nil)
		b.settle(time.Minute)
		if n := b.gauge("halts_total"); n != 0 {
			t.Errorf("%v halts", n)
		}
		lines := b.logged()
		if len(lines) == 0 {
			b.t.Fatal("nothing logged")
		}
		for _, want := range []string{`"level":"warn"`, "only this batch", `"status":403`} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("log: %q, want %q in the first line", lines, want)
			}
		}
	})
}

// The other batch may have been accepted just before the destination began to reject everything.
func TestSecondRejectionHaltsIfNothingIsAcceptedInBetween(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.respondWith(func(r *http.Request) *http.Response {
			time.Sleep(time.Second) // meanwhile the other batch is accepted
			return withStatus(403, r)
		})
		b.many(1)
		b.requests(0)
		b.respondWith(nil)
		b.many(1)
		b.requests(0)
		if len(b.counted()) != 1 {
			b.t.Fatal("the other batch was not accepted: the test proves nothing")
		}
		b.ld.Down(ldtest.Fault{Status: 401})
		time.Sleep(time.Second)
		if b.requests(0); !b.client.Halted().Since.IsZero() || b.requestsWith(403) != 1 {
			t.Errorf("halted by the first rejection: %+v", b.client.Halted())
		}
		time.Sleep(b.cfg.BackoffMin)
		if b.requests(0); b.client.Halted().Since.IsZero() {
			t.Error("not halted by the second rejection")
		}
		b.ld.Up()
		b.settle(b.cfg.BackoffMax)
	})
}

// A batch that was rejected and then fails for another reason must not be logged as rejected.
func TestFailureAfterARejectionIsLoggedAsAFailure(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Status: 403}, ldtest.Fault{})
		b.ld.Script(slices.Repeat([]ldtest.Fault{{Kind: ldtest.Reset}}, 10)...)
		b.many(1)
		b.requests(0)
		b.many(1)
		b.settle(time.Hour)
		if log := b.log.String(); strings.Contains(log, "only this batch") ||
			!strings.Contains(log, "LaunchDarkly unavailable") {
			t.Errorf("log: %s", log)
		}
	})
}

// A batch that is known to be at fault must not hide that the destination rejects everything.
func TestRejectionOfEverythingHaltsDespiteARejectedBatch(t *testing.T) {
	for _, stuck := range []int{1, 2 * maxStrayFailures} {
		for _, others := range []int{0, 1} {
			if stuck == 1 && others == 0 {
				continue // the two cases look alike, and nothing else waits
			}
			t.Run(fmt.Sprint(stuck, others), func(t *testing.T) {
				inBubble(t, nil, func(b *bubble) {
					var batches []*Batch
					for range stuck {
						batches = append(batches, b.batch(1))
					}
					b.stickWith(403, batches...)
					b.deliver(batches...)
					for range 10 * b.cfg.BackoffMax / time.Second { // each batch may need a probe of its own
						b.many(1)
						time.Sleep(time.Second)
					}
					if n := b.unfinished(); n != stuck || !b.client.Halted().Since.IsZero() {
						b.t.Fatalf("%d batches unfinished, halted %+v: the test proves nothing",
							n, b.client.Halted())
					}
					b.respondWith(nil)
					b.ld.Down(ldtest.Fault{Status: 401})
					b.many(others)
					time.Sleep(2 * b.cfg.BackoffMax)
					b.requests(0)
					if h := b.client.Halted(); h.Since.IsZero() || !strings.HasPrefix(h.Cause, "401") {
						t.Errorf("not halted: %+v", h)
					}
					before := b.requestsWith(401)
					time.Sleep(time.Hour)
					if n := b.requestsWith(401) - before; n > 700 {
						t.Errorf("%d requests in an hour while halted", n)
					}
					b.ld.Up()
					b.settle(2 * b.cfg.BackoffMax)
					if h := b.client.Halted(); !h.Since.IsZero() {
						t.Errorf("still halted: %+v", h)
					}
				})
			})
		}
	}
}

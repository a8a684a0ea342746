package sink

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// A web application firewall rejects one batch, for what is in it. That halts once at most,
// because at first nothing tells it from a rejection of the credentials.
func TestDeniedBatchDelaysNoOther(t *testing.T) {
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
							b.t.Fatalf("%d batches wait for the one that is denied, %v after it was first denied", n-1, time.Since(first))
						}
					}
					if n := b.gauge("halts_total"); n > 1 {
						t.Errorf("%v halts in %v", n, time.Since(first))
					}
					if h := b.client.Halted(); !h.Since.IsZero() {
						t.Errorf("halted: %+v", h)
					}
					denials := b.requested(403)
					if most := 2*int(time.Since(first)/b.cfg.BackoffMax) + 40; denials < 3 || denials > 2*most {
						t.Errorf("the denied batch was sent %d times in %v", denials, time.Since(first))
					}
					if n := len(b.counted()); n != others {
						t.Errorf("%d events of %d count", n, others)
					}
					b.answerWith(nil)
					b.settle(b.cfg.BackoffMax)
				})
			})
		}
	}
}

// requested returns how many requests were answered with a status.
func (b *bubble) requested(status int) int {
	return int(testutil.ToFloat64(b.cfg.Metrics.requests.WithLabelValues(fmt.Sprint(status))))
}

// A denial says nothing of the destination when it accepts another batch meanwhile.
func TestDenialWhileOthersAreAcceptedHaltsNothing(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.slow(time.Second)
		stuck := b.batch(1)
		b.stickWith(403, stuck)
		answer := b.instead
		b.answerWith(func(r *http.Request) *http.Response {
			response := answer(r)
			if response != nil {
				time.Sleep(1100 * time.Millisecond) // the other has been accepted
			}
			return response
		})
		b.deliver(stuck)
		b.many(1)
		time.Sleep(1200 * time.Millisecond)
		b.many(50)
		b.answerWith(nil)
		b.settle(time.Minute)
		if n := b.gauge("halts_total"); n != 0 {
			t.Errorf("%v halts", n)
		}
		var told []string
		for line := range strings.Lines(b.log.String()) {
			if !strings.Contains(line, `"level":"debug"`) {
				told = append(told, line)
			}
		}
		if len(told) == 0 || !strings.Contains(told[0], `"level":"warn"`) || !strings.Contains(told[0], "only this batch") || !strings.Contains(told[0], `"status":403`) {
			t.Errorf("log: %q", told)
		}
	})
}

// It may have been accepted just before the destination began to deny all.
func TestDenialIsOfTheDestinationWhenNothingIsAcceptedAfterIt(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.answerWith(func(r *http.Request) *http.Response {
			time.Sleep(time.Second) // the other is accepted meanwhile
			return withStatus(403, r)
		})
		b.many(1)
		b.requests(0)
		b.answerWith(nil)
		b.many(1)
		b.requests(0)
		if len(b.counted()) != 1 {
			b.t.Fatal("the other was not accepted: the test shows nothing")
		}
		b.ld.Down(ldtest.Fault{Status: 401})
		time.Sleep(time.Second)
		if b.requests(0); !b.client.Halted().Since.IsZero() || b.requested(403) != 1 {
			t.Errorf("halted by the first denial: %+v", b.client.Halted())
		}
		time.Sleep(b.cfg.BackoffMin)
		if b.requests(0); b.client.Halted().Since.IsZero() {
			t.Error("not halted by the second denial")
		}
		b.ld.Up()
		b.settle(b.cfg.BackoffMax)
	})
}

// A batch that was denied and then fails for another reason is not logged as denied.
func TestFailureAfterADenialIsLoggedAsWhatItIs(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Status: 403}, ldtest.Fault{}, ldtest.Fault{Kind: ldtest.Reset})
		b.many(1)
		b.requests(0)
		b.many(1)
		b.settle(time.Hour)
		if log := b.log.String(); strings.Contains(log, "only this batch") || !strings.Contains(log, "for the time being") {
			t.Errorf("log: %s", log)
		}
	})
}

// A batch that is known to be denied by itself does not hide that the destination denies all.
func TestDenialOfAllHaltsNextToADeniedBatch(t *testing.T) {
	for _, stuck := range []int{1, 2 * steady} {
		for _, others := range []int{0, 1} {
			if stuck == 1 && others == 0 {
				continue // nothing tells one from the other, and nothing else waits
			}
			t.Run(fmt.Sprint(stuck, others), func(t *testing.T) {
				inBubble(t, nil, func(b *bubble) {
					var batches []*Batch
					for range stuck {
						batches = append(batches, b.batch(1))
					}
					b.stickWith(403, batches...)
					b.deliver(batches...)
					for range 10 * b.cfg.BackoffMax / time.Second { // each may take a probe of its own to be found out
						b.many(1)
						time.Sleep(time.Second)
					}
					if n := b.unfinished(); n != stuck || !b.client.Halted().Since.IsZero() {
						b.t.Fatalf("%d batches unfinished, halted %+v: the test shows nothing", n, b.client.Halted())
					}
					b.answerWith(nil)
					b.ld.Down(ldtest.Fault{Status: 401})
					b.many(others)
					time.Sleep(2 * b.cfg.BackoffMax)
					b.requests(0)
					if h := b.client.Halted(); h.Since.IsZero() || !strings.HasPrefix(h.Answer, "401") {
						t.Errorf("not halted: %+v", h)
					}
					before := b.requested(401)
					time.Sleep(time.Hour)
					if n := b.requested(401) - before; n > 300 {
						t.Errorf("%d requests in an hour of halt", n)
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

package sink

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func (b *bubble) highest() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.most
}

// many delivers n batches of one event. They are not compressed, because compression is slow under
// the race detector.
func (b *bubble) many(n int) {
	for range n {
		b.deliver(b.batchOf(1, 1, 0, false))
	}
}

// slow gives every request the given latency.
func (b *bubble) slow(latency time.Duration) {
	b.ld.Random(1, 1, ldtest.Fault{Kind: ldtest.Slow, For: latency})
}

func TestRequestsInFlightReachTheLimitAndStayWithinIt(t *testing.T) {
	for _, most := range []int{1, 2, 16} {
		inBubble(t, func(c *Config) { c.MaxInFlight = most }, func(b *bubble) {
			b.slow(time.Second)
			b.many(5 * most)
			if b.requests(0); b.highest() != most || testutil.ToFloat64(b.cfg.Metrics.inFlight) != float64(most) {
				t.Errorf("%d requests in flight, gauge %v, want %d",
					b.highest(), testutil.ToFloat64(b.cfg.Metrics.inFlight), most)
			}
			if took := b.settle(time.Minute); took != 5*time.Second {
				t.Errorf("5 rounds of a second took %v", took)
			}
			if in := testutil.ToFloat64(b.cfg.Metrics.inFlight); in != 0 {
				t.Errorf("gauge shows %v in flight at the end", in)
			}
		})
	}
}

func TestOverloadLowersConcurrencyUntilItRecovers(t *testing.T) {
	for _, status := range []int{429, 503} {
		for _, accepted := range []bool{false, true} {
			inBubble(t, nil, func(b *bubble) {
				overload := ldtest.Fault{Status: status, Accepted: accepted}
				b.ld.Script(overload)
				b.many(1)
				b.requests(0)
				b.slow(time.Second)
				b.many(100)
				b.requests(0)
				if n := b.highest(); n != 8 {
					t.Errorf("status %d: %d in flight, want 8", status, n)
				}
				time.Sleep(1500 * time.Millisecond) // until each request has succeeded
				b.requests(0)
				if n := b.highest(); n != 16 {
					t.Errorf("%d in flight after 8 successes, want 16", n)
				}
				b.settle(time.Minute)
			})
		}
	}
}

// If a connection with 16 requests breaks, that is one failure, not sixteen.
func TestRequestsThatFailTogetherLowerConcurrencyOnce(t *testing.T) {
	for _, fault := range []ldtest.Fault{{Status: 503}, {Kind: ldtest.Reset}, {Kind: ldtest.Reset, Accepted: true}} {
		t.Run(fault.String(), func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				for range 16 {
					b.ld.Script(fault)
				}
				b.respondWith(func(*http.Request) *http.Response {
					time.Sleep(time.Second) // so that the 16 are in flight together
					return nil
				})
				b.many(80)
				time.Sleep(2 * time.Second)
				if n := b.ld.Report().Requests; n[503]+n[0] != 16 {
					t.Fatalf("requests by status %v, want 16 failed", n)
				}
				if took := b.settle(time.Minute); took > 7*time.Second { // 5 s or 6 s at full speed
					t.Errorf("the rest took %v after the requests in flight failed once", took)
				}
			})
		})
	}
}

func TestBatchInBackoffOccupiesNoSlot(t *testing.T) {
	for _, status := range []int{400, 408, 500} {
		for _, accepted := range []bool{false, true} {
			inBubble(t, func(c *Config) { c.MaxInFlight = 1 }, func(b *bubble) {
				b.ld.Script(ldtest.Fault{Status: status, Accepted: accepted})
				b.deliver(b.batch(1))
				b.many(100)
				if n := b.unfinished(); n > 1 {
					t.Errorf("%d batches wait for one in backoff after %d", n-1, status)
				}
				b.settle(time.Minute)
			})
		}
	}
}

// stick responds with 500 to the given batches.
func (b *bubble) stick(batches ...*Batch) { b.stickWith(500, batches...) }

// stickWith responds with the given status to the given batches.
func (b *bubble) stickWith(status int, batches ...*Batch) {
	ids := map[string]bool{}
	for _, batch := range batches {
		ids[batch.payloadID(&batch.whole, b.client.destination)] = true
	}
	b.respondWith(func(r *http.Request) *http.Response {
		if ids[r.Header.Get(headerPayloadID)] {
			return withStatus(status, r)
		}
		return nil
	})
}

// The traffic is low, so that the failures of the stuck batch are not outnumbered.
func TestStuckBatchDelaysNoOther(t *testing.T) {
	for _, inFlight := range []int{1, 16} {
		inBubble(t, func(c *Config) { c.MaxInFlight = inFlight }, func(b *bubble) {
			stuck := b.batch(1)
			b.stick(stuck)
			b.deliver(stuck)
			for range 100 {
				time.Sleep(7 * time.Minute)
				sent := time.Now()
				b.deliver(b.batch(10))
				if n := b.unfinished(); n != 1 {
					t.Fatalf("%d batches unfinished after %v, want the stuck one", n, time.Since(sent))
				}
			}
			if n := len(b.counted()); n != 1000 {
				t.Errorf("%d of 1000 events counted", n)
			}
			b.respondWith(nil)
			b.settle(b.cfg.BackoffMax)
		})
	}
}

// If all batches of a partition are stuck, the next probe sends a batch of another partition.
func TestStuckPartitionLetsOthersPass(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		var stuck []*Batch
		b.mu.Lock()
		for i := range 64 {
			stuck = append(stuck, b.render(1000, i, 1, 1, 0, false))
		}
		b.mu.Unlock()
		b.stick(stuck...)
		b.deliver(stuck...)
		time.Sleep(time.Hour)
		b.many(200)
		time.Sleep(2 * b.cfg.BackoffMax)
		if n := b.unfinished(); n != 64 {
			t.Errorf("%d batches unfinished, want the 64 stuck ones", n)
		}
	})
}

// After it recovers, a partition has the same priority as any other.
func TestSuccessClearsThePartitionsFailures(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Status: 500}, ldtest.Fault{Status: 500})
		b.many(1)
		b.settle(b.cfg.BackoffMax)
		b.client.mu.Lock()
		defer b.client.mu.Unlock()
		if n := len(b.client.failures); n != 0 {
			t.Errorf("failures of %d partitions are still counted", n)
		}
	})
}

// down makes the destination fail for an hour while the given number of batches wait, and returns
// the number of requests sent in that time.
func (b *bubble) down(fault ldtest.Fault, batches int) int {
	b.ld.Down(fault)
	b.many(batches)
	time.Sleep(time.Hour)
	n := len(b.requests(0))
	if len(b.counted()) > 0 && !fault.Accepted {
		b.t.Error("delivered while down")
	}
	if b.unfinished() != batches {
		b.t.Errorf("%d of %d deliveries finished while down: %v", batches-b.unfinished(), batches, b.deliveryErrors())
	}
	b.ld.Up()
	b.settle(2 * b.cfg.BackoffMax) // until the probe, and for a batch's own backoff
	if count := len(b.counted()); count != batches {
		b.t.Errorf("%d events counted after recovery, want %d", count, batches)
	}
	return n
}

func TestDestinationThatIsDownIsProbedRarely(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 500}, {Status: 503}, {Status: 429}, {Status: 429, RetryAfter: "30"}, {Status: 503, Accepted: true},
		{Kind: ldtest.Reset}, {Kind: ldtest.Reset, Accepted: true}, {Kind: ldtest.CutOff, Accepted: true},
		{Kind: ldtest.Hang}, {Kind: ldtest.Hang, Accepted: true},
	} {
		t.Run(fault.String(), func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				interval := maxProbeInterval / 2 // the mean of the backoff
				if fault.RetryAfter != "" {
					interval = 30 * time.Second
				}
				if fault.Kind == ldtest.Hang {
					interval += b.cfg.Timeout
				}
				// At most 16+8+4+2 requests and a few more are expected at the start.
				expected := int(time.Hour / interval)
				if n := b.down(fault, 500); n < expected*5/6 || n > expected*7/6+50 {
					t.Errorf("%d probes in an hour, want about %d", n, expected)
				}
			})
		})
	}
}

func TestProbesDoNotGrowWithWaitingBatches(t *testing.T) {
	requests := func(batches int) (n int) {
		inBubble(t, nil, func(b *bubble) { n = b.down(ldtest.Fault{Status: 500}, batches) })
		return n
	}
	if few, many := requests(50), requests(2000); many > 2*few {
		t.Errorf("%d probes with 50 batches waiting, %d with 2000", few, many)
	}
}

func TestOnlyAcceptedRequestsRaiseConcurrency(t *testing.T) {
	l := newLimiter(&Config{MaxInFlight: 16, BackoffMin: time.Second, BackoffMax: time.Minute})
	l.onResponse(response{verdict: halted}, new(attemptState), time.Now())
	for _, c := range []struct {
		verdict verdict
		want    int
	}{{rejected, 1}, {tooLarge, 1}, {accepted, 2}, {rejected, 2}, {accepted, 3}} {
		if l.onResponse(response{verdict: c.verdict}, new(attemptState), time.Now()); l.limit != c.want {
			t.Errorf("limit %d after verdict %v, want %d", l.limit, c.verdict, c.want)
		}
	}
}

// A success ends the client's own backoff, but not a Retry-After; see
// TestRetryAfterOutlastsASuccess.
func TestStrayRejectionDelaysNothing(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Kind: ldtest.Slow, For: time.Second}, ldtest.Fault{Status: 404})
		b.many(2)
		time.Sleep(2 * time.Second)
		b.many(50)
		if n := b.unfinished(); n != 0 {
			t.Errorf("%d batches wait after one stray 404", n)
		}
		if h := b.client.Halted(); !h.Since.IsZero() {
			t.Errorf("halted: %+v", h)
		}
	})
}

func TestRateOfEventsIsLimited(t *testing.T) {
	const perSecond = 5000
	inBubble(t, func(c *Config) { c.MaxEventsPerSecond = perSecond }, func(b *bubble) {
		b.ld.Random(1, 0.2, ldtest.Fault{Kind: ldtest.Slow, For: time.Second})
		for i := range 700 {
			b.deliver(b.batch(1 + i*997%1000)) // of different sizes; 350,000 events in total
		}
		time.Sleep(time.Minute)
		if s := b.client.Status(); !s.RateLimited {
			t.Error("the status does not show the limit")
		}
		sent := 0
		for _, r := range b.requests(0) {
			sent += r.Events
		}
		if low, high := perSecond*60*95/100, perSecond*60*105/100; sent < low || sent > high {
			t.Errorf("%d events sent in a minute, want %d to %d", sent, low, high)
		}
		b.settle(time.Minute)
		if s := b.client.Status(); s.RateLimited {
			t.Error("the status shows the limit although nothing waits")
		}
		if n := len(b.requests(0)); n != 700 {
			t.Errorf("%d requests for 700 batches", n)
		}
	})
}

// A request larger than the rate starts at once and delays the next one.
func TestRateDelaysTheRequestAfterALargeOne(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxEventsPerSecond = 10 }, func(b *bubble) {
		b.deliver(b.batch(100), b.batch(1))
		if n := b.unfinished(); n != 1 {
			t.Errorf("%d batches wait, want 1", n)
		}
		if took := b.settle(time.Minute); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("the second batch waited %v, want 10 s", took)
		}
	})
}

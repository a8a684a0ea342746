package sink

import (
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Each fault occurs without effect, and after LaunchDarkly has accepted the request.
func TestFaultsAreRetriedUnderOnePayloadID(t *testing.T) {
	faults := append(ldtest.TransientFaults(),
		ldtest.Fault{Kind: ldtest.Hang},
		ldtest.Fault{Kind: ldtest.Hang, Accepted: true},
		ldtest.Fault{Kind: ldtest.Slow, For: time.Minute},
		ldtest.Fault{Kind: ldtest.Slow, For: time.Minute, Accepted: true},
		ldtest.Fault{Kind: ldtest.Truncated, Status: 200, Accepted: true},
		ldtest.Fault{Kind: ldtest.Truncated, Status: 400},
		ldtest.Fault{Kind: ldtest.Truncated, Status: 400, Accepted: true},
		ldtest.Fault{Kind: ldtest.Truncated, Status: 401},
		ldtest.Fault{Kind: ldtest.Truncated, Status: 413},
		ldtest.Fault{Kind: ldtest.Truncated, Status: 429},
		ldtest.Fault{Status: 302, Accepted: true},
		ldtest.Fault{Status: 401, Accepted: true},
		ldtest.Fault{Status: 408},
		ldtest.Fault{Status: 408, Accepted: true},
	)
	for _, fault := range faults {
		t.Run(fault.String(), func(t *testing.T) {
			onEachEndpoint(t, func(b *bubble) {
				b.ld.Script(fault, fault, fault)
				batch := b.batch(20)
				b.deliver(batch)
				b.settle(5 * time.Minute)
				requests := b.requests(0)
				if passes := fault.Kind == ldtest.Slow && fault.For < b.cfg.Timeout; passes != (len(requests) == 1) ||
					len(requests) > 4 {
					b.t.Errorf("%d requests", len(requests))
				}
				for _, r := range requests { // the bubble checks that the bodies are the same
					if r.PayloadID != requests[0].PayloadID {
						b.t.Error("an attempt has a different payload ID than the first")
					}
				}
				if n := len(b.counted()); n != 20 || b.deliveryErrors() != nil {
					b.t.Errorf("%d of 20 events counted: %v", n, b.deliveryErrors())
				}
			})
		})
	}
}

func TestRandomFaultsLoseAndDuplicateNothing(t *testing.T) {
	for seed, endpoint := range endpoints {
		inBubble(t, endpoint.change, func(b *bubble) {
			b.ld.Random(uint64(seed), 0.5)
			for range 200 {
				b.deliver(b.batch(5))
			}
			b.settle(time.Hour)
			if n := len(b.counted()); n != 1000 || b.deliveryErrors() != nil {
				t.Errorf("seed %d: %d of 1000 events counted: %v", seed, n, b.deliveryErrors())
			}
		})
	}
}

// The delays must cover the whole range. Without full jitter, clients that failed together would
// retry together.
func TestBackoffIsExponentialCappedAndFullyJittered(t *testing.T) {
	const least, most = 500 * time.Millisecond, time.Minute
	for attempts, bound := range map[int]time.Duration{
		1: least, 2: 2 * least, 3: 4 * least, 7: 64 * least, 8: most, 9: most, 64: most, 65: most, 1 << 20: most,
	} {
		var below, above int
		for range 1000 {
			wait := backoff(attempts, least, most)
			if wait < 0 || wait > bound {
				t.Fatalf("after %d attempts: %v, want at most %v", attempts, wait, bound)
			}
			if wait < bound/10 {
				below++
			}
			if wait > bound-bound/10 {
				above++
			}
		}
		if below < 50 || below > 200 || above < 50 || above > 200 { // 100 expected
			t.Errorf("after %d attempts: %d of 1000 waits in the lowest tenth, %d in the highest", attempts, below, above)
		}
	}
	for _, c := range []struct{ least, most time.Duration }{
		{1, 1}, {time.Hour, time.Hour}, {24 * time.Hour, 1000 * time.Hour},
	} {
		for attempts := 1; attempts < 100; attempts++ {
			if wait := backoff(attempts, c.least, c.most); wait < 0 || wait > c.most {
				t.Fatalf("after %d attempts from %v to %v: %v", attempts, c.least, c.most, wait)
			}
		}
	}
}

func TestRetriesObserveTheBackoff(t *testing.T) {
	var spread time.Duration // of the first wait across runs
	var first []time.Duration
	for range 20 {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(ldtest.Fault{Kind: ldtest.Reset})
			b.deliver(b.batch(1))
			time.Sleep(time.Hour)
			requests := b.requests(0)
			for i := 1; i < len(requests); i++ {
				bound := maxProbeInterval
				if i < 6 {
					bound = b.cfg.BackoffMin << (i - 1)
				}
				if wait := requests[i].Time.Sub(requests[i-1].Time); wait > min(bound, maxProbeInterval) {
					t.Errorf("attempt %d came after %v, want at most %v", i+1, wait, bound)
				}
			}
			if n := len(requests); n < 600 || n > 850 { // 720 expected, one every 5 s
				t.Errorf("%d attempts in an hour", n)
			}
			first = append(first, requests[1].Time.Sub(requests[0].Time))
			b.ld.Up()
			b.settle(b.cfg.BackoffMax)
		})
	}
	for _, wait := range first {
		spread = max(spread, wait-first[0], first[0]-wait)
	}
	if spread < 100*time.Millisecond {
		t.Errorf("the first waits of 20 runs differ by only %v", spread)
	}
}

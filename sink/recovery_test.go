package sink

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// A client detects the end of an outage within maxProbeInterval. The first success queues every
// batch, and the concurrency at most doubles per round of requests.
func TestOutageEndsWithinTheProbeIntervalAndWithoutAStampede(t *testing.T) {
	const minutes, latency = 20, time.Second
	for _, fault := range []ldtest.Fault{{Status: 500}, {Status: 503, Accepted: true}, {Kind: ldtest.Reset}} {
		for batches, rounds := range map[int]int{
			1: 1, 3: 2, // 1+2
			50: 7, // 1+2+4+8+16+16+3
		} {
			t.Run(fmt.Sprint(fault, batches), func(t *testing.T) {
				inBubble(t, func(c *Config) { c.BackoffMax = 5 * time.Minute }, func(b *bubble) {
					b.ld.Down(fault)
					b.many(batches)
					time.Sleep(time.Minute) // until the attempts are rare
					before := len(b.requests(0))
					time.Sleep((minutes - 1) * time.Minute)
					during := len(b.requests(before))
					// Up to 3 batches are retried every 5 s on average, each on its own.
					if expected := min(batches, maxStrayFailures) * (minutes - 1) * 60 / 5; during > expected*5/4 {
						t.Errorf("%d requests in %d minutes, want about %d", during, minutes-1, expected)
					}
					b.ld.Up()
					b.slow(latency)
					ended := time.Now()
					b.settle(maxProbeInterval + time.Duration(rounds)*latency)
					after := b.requests(before + during)
					if first := after[0].Time.Sub(ended); first > maxProbeInterval {
						t.Errorf("first request after %v", first)
					}
					started := map[int]int{} // requests by round
					for _, r := range after {
						started[int(r.Time.Sub(after[0].Time)/latency)]++
					}
					for round, n := range started {
						if round >= rounds || n > 1<<round && batches > maxStrayFailures {
							t.Errorf("%d requests in round %d", n, round)
						}
					}
				})
			})
		}
	}
}

// A success in the middle of an outage does not lengthen the backoff of the batches that fail after
// it.
func TestSuccessDuringAnOutageDelaysNoRecovery(t *testing.T) {
	const flaps = 3
	for _, batches := range []int{flaps + 2, 50} {
		inBubble(t, func(c *Config) { c.BackoffMax = time.Hour }, func(b *bubble) {
			allowed := 0 // requests to pass on to LaunchDarkly
			b.respondWith(func(r *http.Request) *http.Response {
				b.mu.Lock()
				defer b.mu.Unlock()
				if allowed == 0 {
					return withStatus(500, r)
				}
				allowed--
				return nil
			})
			b.many(batches)
			for flap := range flaps {
				time.Sleep(20 * time.Minute)
				b.mu.Lock()
				allowed = 1
				b.mu.Unlock()
				time.Sleep(maxProbeInterval)
				if n := len(b.counted()); n != flap+1 {
					t.Errorf("%d batches: %d events counted after flap %d", batches, n, flap+1)
				}
			}
			time.Sleep(20 * time.Minute)
			b.respondWith(nil)
			b.settle(maxProbeInterval)
		})
	}
}

// Probes respect Retry-After, and are frequent again when LaunchDarkly no longer asks for a delay.
func TestProbesRespectRetryAfter(t *testing.T) {
	for _, batches := range []int{1, 50} {
		inBubble(t, func(c *Config) { c.BackoffMax = 5 * time.Minute }, func(b *bubble) {
			const quiet = 10 * time.Minute
			b.ld.Down(ldtest.Fault{Status: 503, RetryAfter: "600"})
			b.many(batches)
			first := len(b.requests(0))
			time.Sleep(quiet - time.Second)
			if n := len(b.requests(first)); n != 0 {
				t.Errorf("%d batches: %d requests before the end of Retry-After", batches, n)
			}
			b.ld.Down(ldtest.Fault{Status: 503})
			time.Sleep(quiet)
			b.ld.Up()
			b.settle(maxProbeInterval)
		})
	}
}

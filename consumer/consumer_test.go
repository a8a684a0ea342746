package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// page returns a page call, which is filtered.
func page(int) []byte { return []byte(`{"type":"page","userId":"u","properties":{}}`) }

// mixed returns a page call for every third record, and nil for the others.
func mixed(i int) []byte {
	if i%3 == 0 {
		return page(i)
	}
	return nil
}

func TestEveryTrackCallIsDeliveredOnceAndCommitted(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			inWorld(t, 6, func(w *world) {
				w.produce(1000, mixed)
				m := w.join(func(c *Config, _ *sink.Config) { c.ConsumerProtocol = protocol == "consumer" })
				w.awaitDelivered(time.Minute)
				w.produce(1000, mixed)
				w.awaitDelivered(time.Minute)
				m.leave(t)
				if got := w.committed(); got != 2000 {
					t.Errorf("committed %d of 2000 offsets", got)
				}
				w.checkSentOnce()
			})
		})
	}
}

func TestCommitNeverPassesAnUndeliveredRecord(t *testing.T) {
	inWorld(t, 2, func(w *world) { // world checks every commit
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(1000, mixed)
		m := w.join(nil)
		w.produce(1000, page) // filtered records after undelivered ones must not be committed
		time.Sleep(10 * time.Minute)
		if n := w.committed(); n > 2 { // filtered records at the start of the logs
			t.Errorf("committed %d offsets before any delivery", n)
		}
		w.ld.Up()
		w.awaitDelivered(2 * time.Minute)
		m.finish(t)
		w.checkSentOnce()
	})
}

func TestRandomFaultsLoseAndDuplicateNoEvents(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, 4, func(w *world) {
				w.ld.Random(seed, 0.4)
				w.produce(3000, mixed)
				m := w.join(nil)
				w.awaitDelivered(time.Hour)
				m.finish(t)
			})
		})
	}
}

func TestCleanJoinsAndLeavesResendNothing(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			inWorld(t, 6, func(w *world) {
				delayRequests(w, 900*time.Millisecond)
				protocol := func(c *Config, _ *sink.Config) { c.ConsumerProtocol = protocol == "consumer" }
				a := w.join(protocol)
				w.produce(2000, mixed)
				b := w.join(protocol)
				w.produce(2000, mixed)
				time.Sleep(3 * time.Second)
				c := w.join(protocol)
				w.produce(2000, mixed)
				time.Sleep(2 * time.Second)
				a.leave(t)
				w.produce(2000, mixed)
				w.awaitDelivered(10 * time.Minute)
				b.leave(t)
				c.leave(t)
				w.checkSentOnce()
				if got := w.committed(); got != 8000 {
					t.Errorf("committed %d of 8000 offsets", got)
				}
			})
		})
	}
}

// Within the drain timeout, LaunchDarkly accepts only a tenth of the events. No request is
// canceled; batches not yet sent are left to the next owner.
func TestCleanChangesWithASlowLaunchDarklyResendNothing(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		delayRequests(w, 7*time.Second)
		settings := func(c *Config, s *sink.Config) { c.MaxEvents, s.MaxInFlight = 10, 3 }
		a := w.join(settings)
		w.produce(2000, mixed)
		time.Sleep(8 * time.Second)
		b := w.join(settings)
		time.Sleep(40 * time.Second)
		left := time.Now()
		a.stop()
		if err := <-a.done; err == nil {
			t.Error("test has no effect: everything was delivered")
		}
		if took := time.Since(left); took > 18*time.Second { // half of the drain timeout, and one request
			t.Errorf("leaving took %v", took)
		}
		a.end()
		w.awaitDelivered(time.Hour)
		b.finish(t)
		w.checkSentOnce()
	})
}

// delayRequests delays the response to every request.
func delayRequests(w *world, latency time.Duration) {
	w.ld.Random(1, 1, ldtest.Fault{Kind: ldtest.Slow, Accepted: true, For: latency})
}

func TestKilledMemberIsReplacedWithoutLossOrDuplicates(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		for after := time.Duration(0); after < 4*time.Second; after += 370 * time.Millisecond {
			t.Run(fmt.Sprint(protocol, after), func(t *testing.T) {
				inWorld(t, 3, func(w *world) {
					delayRequests(w, 500*time.Millisecond)
					protocol := func(c *Config, _ *sink.Config) { c.ConsumerProtocol = protocol == "consumer" }
					w.produce(3000, mixed)
					a := w.join(protocol)
					time.Sleep(after)
					a.kill()
					b := w.join(func(c *Config, s *sink.Config) {
						protocol(c, s)
						c.MaxEvents = 70 // different from the settings of the killed member
					})
					w.awaitDelivered(5 * time.Minute)
					a.abort()
					b.finish(t)
				})
			})
		}
	}
}

// The zombie is disconnected only from Kafka, after LaunchDarkly has accepted its requests.
func TestZombieCausesNoDuplicates(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true})
		w.produce(3000, mixed)
		a := w.join(nil)
		time.Sleep(5 * time.Second)
		a.killKafka()
		b := w.join(nil)
		time.Sleep(30 * time.Second)
		w.ld.Up()
		w.awaitDelivered(5 * time.Minute)
		a.abort()
		a.end()
		b.finish(t)
		if w.ld.Report().Duplicates == 0 {
			t.Error("test has no effect: the zombie sent nothing")
		}
	})
}

func TestDrainTimeoutHandsOverTheCuts(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.produce(2000, nil)
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true}) // accepted, but no response
		a := w.join(nil)
		time.Sleep(10 * time.Second)
		b := w.join(func(c *Config, _ *sink.Config) { c.MaxEvents = 33 })
		time.Sleep(time.Minute)
		a.stop()
		if err := <-a.done; err == nil {
			t.Error("a member with undelivered batches left without an error")
		}
		w.ld.Up()
		w.awaitDelivered(10 * time.Minute)
		b.finish(t)
		if w.ld.Report().Duplicates == 0 {
			t.Error("test has no effect: nothing was resent")
		}
		a.end()
	})
}

func TestRejectedCredentialsHaltAndLoseNothing(t *testing.T) {
	for _, status := range []int{401, 302} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.ld.Down(ldtest.Fault{Status: status})
				w.produce(500, nil)
				m := w.join(nil)
				time.Sleep(time.Hour)
				if m.cfg.Sink.Halted().Since.IsZero() {
					t.Error("delivery did not halt")
				}
				if n := w.committed(); n > 0 {
					t.Errorf("committed %d offsets, want 0", n)
				}
				w.ld.Up()
				w.awaitDelivered(5 * time.Minute)
				m.finish(t)
			})
		})
	}
}

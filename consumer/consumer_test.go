package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// page is a record that is filtered.
func page(int) []byte { return []byte(`{"type":"page","userId":"u","properties":{}}`) }

// mixed makes every third record a page call.
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
				w.settled(time.Minute)
				w.produce(1000, mixed)
				w.settled(time.Minute)
				m.leave(t)
				if got := w.committed(); got != 2000 {
					t.Errorf("committed %d offsets of 2000", got)
				}
				w.sentOnce()
			})
		})
	}
}

func TestCommitNeverPassesAnUndeliveredRecord(t *testing.T) {
	inWorld(t, 2, func(w *world) { // the world checks every commit
		w.ld.Down(ldtest.Fault{Status: 503})
		w.produce(1000, mixed)
		m := w.join(nil)
		w.produce(1000, page) // filtered records behind undelivered ones tempt to commit past them
		time.Sleep(10 * time.Minute)
		if n := w.committed(); n > 2 { // the filtered records at the very start
			t.Errorf("committed %d offsets while nothing was delivered", n)
		}
		w.ld.Up()
		w.settled(2 * time.Minute)
		m.finish(t)
		w.sentOnce()
	})
}

func TestRandomFaultsLoseAndDoubleNothing(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, 4, func(w *world) {
				w.ld.Random(seed, 0.4)
				w.produce(3000, mixed)
				m := w.join(nil)
				w.settled(time.Hour)
				m.finish(t)
			})
		})
	}
}

func TestCleanJoinsAndLeavesSendNothingTwice(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			inWorld(t, 6, func(w *world) {
				slow(w, 900*time.Millisecond)
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
				w.settled(10 * time.Minute)
				b.leave(t)
				c.leave(t)
				w.sentOnce()
				if got := w.committed(); got != 8000 {
					t.Errorf("committed %d offsets of 8000", got)
				}
			})
		})
	}
}

// LaunchDarkly takes a tenth of what there is to deliver in the time that a drain may
// last. Nothing is broken off: what was not posted yet is the next owner's.
func TestCleanChangesBehindASlowLaunchDarklySendNothingTwice(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		slow(w, 7*time.Second)
		settings := func(c *Config, s *sink.Config) { c.MaxEvents, s.MaxInFlight = 10, 3 }
		a := w.join(settings)
		w.produce(2000, mixed)
		time.Sleep(8 * time.Second)
		b := w.join(settings)
		time.Sleep(40 * time.Second)
		left := time.Now()
		a.stop()
		if err := <-a.done; err == nil {
			t.Error("everything was delivered: the test shows nothing")
		}
		if took := time.Since(left); took > 18*time.Second { // half the drain timeout and a request
			t.Errorf("leaving took %v", took)
		}
		a.end()
		w.settled(time.Hour)
		b.finish(t)
		w.sentOnce()
	})
}

// slow lets every request take a while.
func slow(w *world, latency time.Duration) {
	w.ld.Random(1, 1, ldtest.Fault{Kind: ldtest.Slow, Accepted: true, For: latency})
}

func TestKilledMemberIsReplacedWithoutLossOrDoubling(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		for after := time.Duration(0); after < 4*time.Second; after += 370 * time.Millisecond {
			t.Run(fmt.Sprint(protocol, after), func(t *testing.T) {
				inWorld(t, 3, func(w *world) {
					slow(w, 500*time.Millisecond)
					protocol := func(c *Config, _ *sink.Config) { c.ConsumerProtocol = protocol == "consumer" }
					w.produce(3000, mixed)
					a := w.join(protocol)
					time.Sleep(after)
					a.kill()
					b := w.join(func(c *Config, s *sink.Config) {
						protocol(c, s)
						c.MaxEvents = 70 // other settings than the dead member's
					})
					w.settled(5 * time.Minute)
					a.abort()
					b.finish(t)
				})
			})
		}
	}
}

// The zombie is cut off from Kafka only, after LaunchDarkly took what it sent.
func TestZombieDoublesNothing(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true})
		w.produce(3000, mixed)
		a := w.join(nil)
		time.Sleep(5 * time.Second)
		a.killKafka()
		b := w.join(nil)
		time.Sleep(30 * time.Second)
		w.ld.Up()
		w.settled(5 * time.Minute)
		a.abort()
		a.end()
		b.finish(t)
		if w.ld.Report().Duplicates == 0 {
			t.Error("the zombie sent nothing: the test shows nothing")
		}
	})
}

func TestDrainTimeoutHandsTheCutsOver(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.produce(2000, nil)
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true}) // taken, and never answered
		a := w.join(nil)
		time.Sleep(10 * time.Second)
		b := w.join(func(c *Config, _ *sink.Config) { c.MaxEvents = 33 })
		time.Sleep(time.Minute)
		a.stop()
		if err := <-a.done; err == nil {
			t.Error("a member that could not deliver left as if it had")
		}
		w.ld.Up()
		w.settled(10 * time.Minute)
		b.finish(t)
		if w.ld.Report().Duplicates == 0 {
			t.Error("nothing was sent again: the test shows nothing")
		}
		a.end()
	})
}

func TestRefusedCredentialsHaltAndLoseNothing(t *testing.T) {
	for _, status := range []int{401, 403, 404, 406, 302} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.ld.Down(ldtest.Fault{Status: status})
				w.produce(500, nil)
				m := w.join(nil)
				time.Sleep(time.Hour)
				if m.cfg.Sink.Halted().Since.IsZero() {
					t.Error("not halted")
				}
				if n := w.committed(); n > 0 {
					t.Errorf("committed %d offsets", n)
				}
				w.ld.Up()
				w.settled(5 * time.Minute)
				m.finish(t)
			})
		})
	}
}

package sink

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

var errRevoked = errors.New("revoked")

// ends delivers batches, lets their context end after a while, and checks that
// they end at once, each once, and that nothing is posted afterwards.
func (b *bubble) ends(after time.Duration, batches ...*Batch) {
	b.t.Helper()
	ctx, cancel := context.WithCancelCause(b.ctx)
	for _, batch := range batches {
		b.deliverIn(ctx, batch)
	}
	time.Sleep(after)
	synctest.Wait()
	if b.unfinished() == 0 {
		b.t.Fatal("nothing is left to end: the test shows nothing")
	}
	cancel(errRevoked)
	if n := b.unfinished(); n != 0 {
		b.t.Errorf("%d deliveries outlive their context", n)
	}
	if err := b.gaveUp(); !errors.Is(err, errRevoked) {
		b.t.Errorf("ended with %v", err)
	}
	b.client.mu.Lock()
	if n := b.client.ready.Len(); n != 0 {
		b.t.Errorf("%d jobs, with their bodies, are still in the queue", n)
	}
	if n := len(b.client.failures); n != 0 {
		b.t.Errorf("failures of %d partitions are still counted", n)
	}
	b.client.mu.Unlock()
	before := len(b.requests(0))
	b.ld.Up()
	time.Sleep(2 * time.Hour)
	if after := len(b.requests(0)); after != before {
		b.t.Errorf("%d requests after the context was done", after-before)
	}
}

func TestContextEndsWhileQueued(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxInFlight = 1 }, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Kind: ldtest.Slow, For: 5 * time.Second, Taken: true})
		b.client.Deliver(b.ctx, Delivery{Batch: b.batch(1), Done: func(error) {}})
		b.requests(0)
		b.ends(time.Second, b.batch(1), b.batch(1), b.batch(1))
	})
}

func TestContextEndsWhileLaunchDarklyWantsNothing(t *testing.T) {
	for _, fault := range []ldtest.Fault{{Status: 429, RetryAfter: "3600"}, {Status: 401}, {Status: 500}} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(fault)
			var batches []*Batch
			for range 100 {
				batches = append(batches, b.batchOf(1, 1, 0, false))
			}
			b.ends(90*time.Second, batches...)
		})
	}
}

func TestContextEndsWhileBackingOff(t *testing.T) {
	for _, status := range []int{400, 500} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(ldtest.Fault{Status: status})
			b.ends(0, b.batch(1))
		})
	}
}

func TestContextEndsInFlight(t *testing.T) {
	for _, fault := range []ldtest.Fault{{Kind: ldtest.Hang}, {Kind: ldtest.Hang, Taken: true}} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(fault)
			b.ends(time.Second, b.batch(1), b.batch(1))
		})
	}
}

// Requests that the client cancels say nothing of LaunchDarkly.
func TestCancelledRequestsSlowNobodyDown(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Down(ldtest.Fault{Kind: ldtest.Hang})
		ctx, cancel := context.WithCancel(b.ctx)
		for range 2 * steady {
			b.deliverIn(ctx, b.batch(1))
		}
		time.Sleep(time.Second)
		cancel()
		b.requests(0)
		b.ld.Up()
		b.many(1)
		if n := b.unfinished(); n != 0 || strings.Contains(b.log.String(), "for the time being") {
			t.Errorf("%d batches wait: %s", n, b.log)
		}
	})
}

// The answer comes and the context ends at the same moment, whichever is first.
func TestContextEndsWithTheAnswer(t *testing.T) {
	for _, status := range []int{400, 401, 413, 429, 500} {
		inBubble(t, nil, func(b *bubble) {
			ctx, cancel := context.WithCancelCause(b.ctx)
			answered := 0
			b.answerWith(func(r *http.Request) *http.Response {
				answered++
				cancel(errRevoked)
				time.Sleep(time.Second) // the end has been noticed by all that watch for it
				response := withStatus(status, r)
				response.Header.Set("Retry-After", "3600")
				return response
			})
			b.deliverIn(ctx, b.batch(4))
			time.Sleep(time.Second)
			if n := b.unfinished(); n != 0 || !errors.Is(b.gaveUp(), errRevoked) {
				t.Errorf("%d: %d deliveries outlive their context: %v", status, n, b.gaveUp())
			}
			time.Sleep(2 * time.Hour)
			if answered != 1 {
				t.Errorf("%d: %d requests, want 1", status, answered)
			}
		})
	}
}

func TestContextThatIsDoneBeforehandPostsNothing(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		ctx, cancel := context.WithCancelCause(b.ctx)
		cancel(errRevoked)
		for range 100 {
			b.deliverIn(ctx, b.batch(3))
		}
		if n := b.unfinished(); n != 0 || !errors.Is(b.gaveUp(), errRevoked) {
			t.Errorf("%d deliveries outlive their context: %v", n, b.gaveUp())
		}
		if n := len(b.requests(0)); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// The delivery ends, but not the request under way, whose answer still counts.
func TestUntilEndsWhatWaitsAndBreaksNothingOff(t *testing.T) {
	for _, status := range []int{202, 400, 401, 413, 429, 500} {
		inBubble(t, func(c *Config) { c.MaxInFlight = 1 }, func(b *bubble) {
			answered := 0
			b.answerWith(func(r *http.Request) *http.Response {
				answered++
				select {
				case <-time.After(5 * time.Second):
				case <-r.Context().Done():
					t.Errorf("%d: the request was broken off", status)
				}
				return withStatus(status, r)
			})
			until, cancel := context.WithCancelCause(b.ctx)
			ended := make(chan error, 3)
			for range 2 {
				b.client.Deliver(b.ctx, Delivery{Batch: b.batch(4), Until: until, Done: func(err error) { ended <- err }})
			}
			time.Sleep(time.Second)
			cancel(errRevoked)
			synctest.Wait()
			if len(ended) != 1 || !errors.Is(<-ended, errRevoked) {
				t.Errorf("%d: what waited has not ended", status)
			}
			time.Sleep(2 * time.Hour)
			if len(ended) != 1 {
				t.Fatalf("%d: %d deliveries ended when the answer came, want 1", status, len(ended))
			}
			if err := <-ended; status == 202 && err != nil || status != 202 && !errors.Is(err, errRevoked) {
				t.Errorf("%d: what was under way ended with %v", status, err)
			}
			if answered != 1 {
				t.Errorf("%d: %d requests, want 1", status, answered)
			}
		})
	}
}

// One part is set aside, which takes long, when the context ends.
func TestContextEndsWhileAnEventIsSetAside(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Down(ldtest.Fault{Status: 413})
		ctx, cancel := context.WithCancelCause(b.ctx)
		done := make(chan error, 2)
		b.client.Deliver(ctx, Delivery{
			Batch: b.batch(1),
			Refused: func(ctx context.Context, _ Refusal) error {
				<-ctx.Done()
				return context.Cause(ctx)
			},
			Done: func(err error) { done <- err },
		})
		time.Sleep(time.Minute)
		cancel(errRevoked)
		synctest.Wait()
		if len(done) != 1 || !errors.Is(<-done, errRevoked) {
			t.Error("not ended, or otherwise")
		}
	})
}

func TestCloseWaitsForWhatIsUnderWayAndLeavesNothing(t *testing.T) {
	for _, fault := range []ldtest.Fault{{}, {Status: 401}, {Status: 429, RetryAfter: "3600"}, {Status: 500}, {Kind: ldtest.Hang}} {
		onEachEndpoint(t, func(b *bubble) {
			b.ld.Down(fault)
			for range 50 {
				b.deliver(b.batchOf(1, 1, 0, false))
			}
			time.Sleep(time.Second)
			b.cancel()
			b.client.Close()
			if b.client.wake != nil && b.client.wake.Stop() {
				b.t.Errorf("%v: a timer outlives Close", fault)
			}
			b.mu.Lock()
			if b.open != 0 {
				b.t.Errorf("%v: %d deliveries outlive Close", fault, b.open)
			}
			b.mu.Unlock()
			synctest.Wait() // for goroutines to be gone that have nothing left to do
			stacks := make([]byte, 1<<20)
			for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
				if strings.Contains(stack, "sink.(*Client)") || strings.Contains(stack, "net/http.(*Transport)") || strings.Contains(stack, "net/http.(*persistConn)") {
					b.t.Errorf("%v: left behind: %s", fault, stack)
				}
			}
		})
	}
}

// A timer that is left behind holds a body for up to an hour, the longest Retry-After.
func TestEndedJobLeavesNoTimerAndNoPlace(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		c := b.client
		until, cancel := context.WithCancelCause(b.ctx)
		waiting := func() *job {
			d := &delivery{Delivery: Delivery{Batch: b.batch(1), Until: until, Done: func(error) {}}, ctx: b.ctx, parts: 1}
			c.running.Add(1)
			return &job{delivery: d, part: d.Batch.whole, unwatch: func() bool { return true }}
		}
		early, late := waiting(), waiting()
		c.again(early, time.Hour)
		cancel(errRevoked)
		c.leave(early)
		c.again(late, time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pace.asked = time.Now().Add(time.Hour) // what is in the queue stays there
		c.enqueue(early)                         // as its timer does when it fires while leave holds the mutex
		if early.timer.Stop() || late.timer != nil {
			t.Error("a timer is left behind")
		}
		if c.ready.Len() != 0 {
			t.Error("a job that has ended is in the queue")
		}
	})
}

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

// cancelAfter delivers batches and cancels their context after a while. It asserts that all of them
// finish immediately, and that nothing is sent afterwards.
func (b *bubble) cancelAfter(after time.Duration, batches ...*Batch) {
	b.t.Helper()
	ctx, cancel := context.WithCancelCause(b.ctx)
	for _, batch := range batches {
		b.deliverIn(ctx, batch)
	}
	time.Sleep(after)
	synctest.Wait()
	if b.unfinished() == 0 {
		b.t.Fatal("all deliveries are finished: the test proves nothing")
	}
	cancel(errRevoked)
	if n := b.unfinished(); n != 0 {
		b.t.Errorf("%d deliveries not finished after their context was done", n)
	}
	if err := b.deliveryErrors(); !errors.Is(err, errRevoked) {
		b.t.Errorf("finished with %v", err)
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

func TestContextDoneWhileQueued(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxInFlight = 1 }, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Kind: ldtest.Slow, For: 5 * time.Second, Accepted: true})
		b.client.Deliver(b.ctx, Delivery{Batch: b.batch(1), Done: func(error) {}})
		b.requests(0)
		b.cancelAfter(time.Second, b.batch(1), b.batch(1), b.batch(1))
	})
}

func TestContextDoneWhileNoAttemptCanStart(t *testing.T) {
	for _, fault := range []ldtest.Fault{{Status: 429, RetryAfter: "3600"}, {Status: 401}, {Status: 500}} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(fault)
			var batches []*Batch
			for range 100 {
				batches = append(batches, b.batchOf(1, 1, 0, false))
			}
			b.cancelAfter(90*time.Second, batches...)
		})
	}
}

func TestContextDoneWhileBackingOff(t *testing.T) {
	for _, status := range []int{400, 500} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(ldtest.Fault{Status: status})
			b.cancelAfter(0, b.batch(1))
		})
	}
}

func TestContextDoneInFlight(t *testing.T) {
	for _, fault := range []ldtest.Fault{{Kind: ldtest.Hang}, {Kind: ldtest.Hang, Accepted: true}} {
		inBubble(t, nil, func(b *bubble) {
			b.ld.Down(fault)
			b.cancelAfter(time.Second, b.batch(1), b.batch(1))
		})
	}
}

// A canceled request is no evidence that LaunchDarkly is unavailable.
func TestCanceledRequestsDelayNothing(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Down(ldtest.Fault{Kind: ldtest.Hang})
		ctx, cancel := context.WithCancel(b.ctx)
		for range 2 * maxStrayFailures {
			b.deliverIn(ctx, b.batch(1))
		}
		time.Sleep(time.Second)
		cancel()
		b.requests(0)
		b.ld.Up()
		b.many(1)
		if n := b.unfinished(); n != 0 || strings.Contains(b.log.String(), "LaunchDarkly unavailable") {
			t.Errorf("%d batches wait: %s", n, b.log)
		}
	})
}

// The response arrives at the moment when the context is done.
func TestContextDoneWithTheResponse(t *testing.T) {
	for _, status := range []int{400, 401, 413, 429, 500} {
		inBubble(t, nil, func(b *bubble) {
			ctx, cancel := context.WithCancelCause(b.ctx)
			sent := 0
			b.respondWith(func(r *http.Request) *http.Response {
				sent++
				cancel(errRevoked)
				time.Sleep(time.Second) // until all context callbacks have run
				response := withStatus(status, r)
				response.Header.Set("Retry-After", "3600")
				return response
			})
			b.deliverIn(ctx, b.batch(4))
			time.Sleep(time.Second)
			if n := b.unfinished(); n != 0 || !errors.Is(b.deliveryErrors(), errRevoked) {
				t.Errorf("%d: %d deliveries not finished after their context was done: %v", status, n, b.deliveryErrors())
			}
			time.Sleep(2 * time.Hour)
			if sent != 1 {
				t.Errorf("%d: %d requests, want 1", status, sent)
			}
		})
	}
}

func TestContextDoneBeforehandSendsNothing(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		ctx, cancel := context.WithCancelCause(b.ctx)
		cancel(errRevoked)
		for range 100 {
			b.deliverIn(ctx, b.batch(3))
		}
		if n := b.unfinished(); n != 0 || !errors.Is(b.deliveryErrors(), errRevoked) {
			t.Errorf("%d deliveries not finished after their context was done: %v", n, b.deliveryErrors())
		}
		if n := len(b.requests(0)); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// Until ends a delivery, but not its in-flight request, whose response still counts.
func TestUntilEndsWaitingDeliveriesAndCancelsNoRequest(t *testing.T) {
	for _, status := range []int{202, 400, 401, 413, 429, 500} {
		inBubble(t, func(c *Config) { c.MaxInFlight = 1 }, func(b *bubble) {
			sent := 0
			b.respondWith(func(r *http.Request) *http.Response {
				sent++
				select {
				case <-time.After(5 * time.Second):
				case <-r.Context().Done():
					t.Errorf("%d: the request was canceled", status)
				}
				return withStatus(status, r)
			})
			until, cancel := context.WithCancelCause(b.ctx)
			finished := make(chan error, 3)
			for range 2 {
				b.client.Deliver(b.ctx, Delivery{
					Batch: b.batch(4), Until: until, Done: func(err error) { finished <- err },
				})
			}
			time.Sleep(time.Second)
			cancel(errRevoked)
			synctest.Wait()
			if len(finished) != 1 || !errors.Is(<-finished, errRevoked) {
				t.Errorf("%d: the waiting delivery has not finished", status)
			}
			time.Sleep(2 * time.Hour)
			if len(finished) != 1 {
				t.Fatalf("%d: %d deliveries finished after the response, want 1", status, len(finished))
			}
			if err := <-finished; status == 202 && err != nil || status != 202 && !errors.Is(err, errRevoked) {
				t.Errorf("%d: the in-flight delivery finished with %v", status, err)
			}
			if sent != 1 {
				t.Errorf("%d: %d requests, want 1", status, sent)
			}
		})
	}
}

// The callback Rejected is still running when the context is done.
func TestContextDoneWhileAnEventIsSetAside(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Down(ldtest.Fault{Status: 413})
		ctx, cancel := context.WithCancelCause(b.ctx)
		done := make(chan error, 2)
		b.client.Deliver(ctx, Delivery{
			Batch: b.batch(1),
			Rejected: func(ctx context.Context, _ Rejection) error {
				<-ctx.Done()
				return context.Cause(ctx)
			},
			Done: func(err error) { done <- err },
		})
		time.Sleep(time.Minute)
		cancel(errRevoked)
		synctest.Wait()
		if len(done) != 1 || !errors.Is(<-done, errRevoked) {
			t.Error("not finished with the cause of the context")
		}
	})
}

func TestCloseWaitsForDeliveriesAndLeaksNothing(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{}, {Status: 401}, {Status: 429, RetryAfter: "3600"}, {Status: 500}, {Kind: ldtest.Hang},
	} {
		onEachEndpoint(t, func(b *bubble) {
			b.ld.Down(fault)
			for range 50 {
				b.deliver(b.batchOf(1, 1, 0, false))
			}
			time.Sleep(time.Second)
			b.cancel()
			b.client.Close()
			if b.client.wakeTimer != nil && b.client.wakeTimer.Stop() {
				b.t.Errorf("%v: a timer is still running after Close", fault)
			}
			b.mu.Lock()
			if b.open != 0 {
				b.t.Errorf("%v: %d deliveries not finished after Close", fault, b.open)
			}
			b.mu.Unlock()
			synctest.Wait() // until idle goroutines have exited
			stacks := make([]byte, 1<<20)
			for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
				for _, of := range []string{"sink.(*Client)", "net/http.(*Transport)", "net/http.(*persistConn)"} {
					if strings.Contains(stack, of) {
						b.t.Errorf("%v: leaked goroutine: %s", fault, stack)
					}
				}
			}
		})
	}
}

// A leftover timer retains a body for up to an hour, the maximum Retry-After.
func TestFinishedJobLeavesNoTimerAndNoQueueEntry(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		c := b.client
		until, cancel := context.WithCancelCause(b.ctx)
		waiting := func() *job {
			public := Delivery{Batch: b.batch(1), Until: until, Done: func(error) {}}
			d := &delivery{Delivery: public, ctx: b.ctx, parts: 1}
			c.running.Add(1)
			return &job{delivery: d, part: d.Batch.whole, unwatch: func() bool { return true }}
		}
		early, late := waiting(), waiting()
		c.requeue(early, time.Hour)
		cancel(errRevoked)
		c.abandonWaiting(early)
		c.requeue(late, time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.limiter.retryAfter = time.Now().Add(time.Hour) // queued jobs stay in the queue
		c.enqueue(early)                                 // like its timer, if it fires while abandonWaiting holds the mutex
		if early.timer.Stop() || late.timer != nil {
			t.Error("a timer was not stopped")
		}
		if c.ready.Len() != 0 {
			t.Error("a finished job is in the queue")
		}
	})
}

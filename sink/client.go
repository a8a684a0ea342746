package sink

import (
	"container/list"
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Delivery describes a batch to deliver and the callbacks for its outcome.
type Delivery struct {
	// Batch is the batch to deliver. The same batch must not be passed to [Client.Deliver] twice.
	Batch *Batch
	// Until prevents new attempts once it is done. In-flight attempts can still finish. Until must
	// be derived from the context passed to [Client.Deliver]. Nil means that context.
	Until context.Context
	// Rejected handles an event that LaunchDarkly rejected individually. Rejected may block until
	// ctx, the context passed to [Client.Deliver], is done, and may be called for several events
	// concurrently. After all events are finished, Done receives the first error returned by
	// Rejected.
	Rejected func(ctx context.Context, r Rejection) error
	// Done is called exactly once, from one of the client's goroutines. Its argument is nil if
	// every event was either accepted by LaunchDarkly or handled by Rejected without an error.
	Done func(error)
}

// Rejection describes an event that LaunchDarkly rejected individually.
type Rejection struct {
	Batch   *Batch
	Event   int    // index in the batch
	Body    []byte // the event as JSON
	Status  int    // status code of the last response
	Excerpt string // start of the response body, without what it quotes from the request
}

// Halt describes whether and why delivery is halted.
type Halt struct {
	Since  time.Time // zero if delivery is not halted
	Cause  string    // latest status or error that halted delivery, without the response body
	Advice string    // how to fix it
}

// Client sends batches to LaunchDarkly. Its methods are safe for concurrent use.
type Client struct {
	cfg         Config
	url         string
	destination string // identity of the environment, for payload IDs
	metrics     *Metrics
	log         *zap.Logger

	running  sync.WaitGroup // deliveries and their attempts
	watching sync.WaitGroup // the watchCredentials goroutine

	maskMu sync.Mutex // held while a response is masked; see excerpt

	mu                  sync.Mutex // guards the fields below
	limiter             limiter
	failures            map[Source]int     // consecutive attempts with the verdict retryable, per partition
	ready               list.List          // jobs waiting for a slot, oldest first
	inFlight            int                // requests in flight
	delayed             map[*job]time.Time // jobs in backoff, and when they are queued again
	wakeTimer           *time.Timer        // calls dispatch when the limiter allows the next attempt
	halt                Halt
	outage              Outage        // Next is set only in snapshots
	responded           bool          // whether any response has arrived since the client was created
	unreachable         bool          // whether an unreachable destination has been logged
	status              Status        // Halt and Outage are set only in snapshots
	outageLogged        bool          // an outage has been logged and has not ended
	watchedSeries       int           // limiter.series for which watchOutage was called; 0 if it must be called again
	strayWarning        time.Time     // time of the last log entry about a single batch; see recordResponse
	rejectedCredentials credentials   // last rejected or probed
	stopWatch           chan struct{} // closed to stop watchCredentials; nil if not running
	consecutiveRejects  int           // events passed to Delivery.Rejected since the last accepted request
	acceptedRequests    int           // accepted requests since the client was created
}

// New validates cfg and returns a client. It starts no goroutines.
func New(cfg Config) (*Client, error) {
	url, err := cfg.url()
	if err == nil {
		err = cfg.validate()
	}
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg.MaxInFlight, cfg.Timeout, cfg.RootCAs)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry(), NewBudget(1))
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Client{
		cfg: cfg, url: url, destination: cfg.destination(), metrics: cfg.Metrics, log: cfg.Log,
		limiter:  newLimiter(&cfg),
		failures: map[Source]int{}, delayed: map[*job]time.Time{}, status: Status{Requests: map[string]int64{}},
	}, nil
}

// Address returns the URL that requests are sent to.
func (c *Client) Address() string { return c.url }

// Halted reports whether and why delivery is halted.
func (c *Client) Halted() Halt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halt
}

// Deliver starts delivering a batch and returns immediately. The batch is retried until it is
// delivered or ctx is done. When ctx is done, in-flight attempts are canceled, no new attempts
// start, and [Delivery.Done] is called. When only [Delivery.Until] is done, in-flight attempts can
// finish, but no new ones start. Deliver must not be called twice with the same batch, because a
// rejected batch may be split, which releases its body.
func (c *Client) Deliver(ctx context.Context, d Delivery) {
	if d.Until == nil {
		d.Until = ctx
	}
	c.running.Add(1)
	c.addPart(&delivery{Delivery: d, ctx: ctx, parts: 1}, d.Batch.whole)
}

// Close waits for all deliveries to finish and closes idle connections. To abort a delivery, cancel
// its context. Deliver must not be called after Close.
func (c *Client) Close() {
	c.running.Wait()
	c.mu.Lock()
	c.endWatch()
	c.mu.Unlock()
	c.watching.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wakeTimer != nil {
		c.wakeTimer.Stop()
	}
	if t, ok := c.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// enqueue appends a job to the queue and calls dispatch, unless the job has been abandoned. The
// caller must hold c.mu.
func (c *Client) enqueue(j *job) {
	delete(c.delayed, j)
	if j.waiting {
		j.place = c.ready.PushBack(j)
		c.dispatch()
	}
}

// dispatch starts as many attempts as the limiter allows. The caller must hold c.mu.
func (c *Client) dispatch() {
	defer func() { c.metrics.setRateLimited(c.rateLimited()) }()
	for c.ready.Len() > 0 && c.inFlight < c.limiter.limit {
		if wait := time.Until(c.limiter.notBefore()); wait > 0 {
			c.dispatchAfter(wait)
			return
		}
		j := c.dequeue()
		if j.delivery.Until.Err() != nil {
			continue // abandonWaiting is about to finish the job
		}
		j.waiting = false
		if !j.hasHalted {
			j.acceptedBefore = c.acceptedRequests
		}
		c.limiter.onStart(&j.attemptState, j.part.events(), time.Now())
		c.inFlight++
		c.metrics.inFlight.Set(float64(c.inFlight))
		c.running.Go(func() { c.attempt(j) })
	}
}

// dequeue removes and returns the next job in the queue, which is normally the oldest. While the
// destination is failing or delivery is halted, dequeue chooses the oldest job of the highest
// priority. The caller must hold c.mu.
func (c *Client) dequeue() *job {
	first := c.ready.Front()
	if c.limiter.failing() || !c.halt.Since.IsZero() {
		for e := first.Next(); e != nil; e = e.Next() {
			if c.priority(e) > c.priority(first) {
				first = e
			}
		}
	}
	j := c.ready.Remove(first).(*job)
	j.place = nil
	return j
}

// priority returns a queued job's priority as a probe. A probe should not fail for reasons
// unrelated to the destination. Jobs from partitions with recent failures therefore have a lower
// priority. Jobs that were rejected or halted, or that carry only part of a batch, have the lowest
// priority. The caller must hold c.mu.
func (c *Client) priority(e *list.Element) int {
	j := e.Value.(*job)
	if j.rejects > 0 || j.hasHalted || j.part.events() < j.delivery.Batch.Events {
		return math.MinInt
	}
	return -c.failures[j.delivery.Batch.Source]
}

// dispatchAfter schedules a call to dispatch. The caller must hold c.mu.
func (c *Client) dispatchAfter(wait time.Duration) {
	if c.wakeTimer != nil {
		c.wakeTimer.Reset(wait)
		return
	}
	c.wakeTimer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dispatch()
	})
}

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

// Delivery is a batch to deliver, with callbacks for its outcome.
type Delivery struct {
	// Batch is the batch to deliver. Each batch is delivered once.
	Batch *Batch
	// Until is the context after which no new attempt starts, while the in-flight one may finish.
	// It must be derived from the delivery's context. Nil means the delivery's context itself.
	Until context.Context
	// Rejected takes over an event that can never be delivered. It may block until ctx, the
	// delivery's context, is done, and may be called for several events concurrently. If it returns
	// an error, Done receives that error after the batch's other events are finished.
	Rejected func(ctx context.Context, r Rejection) error
	// Done is called exactly once, from a goroutine of the client. The error is nil if every event
	// was accepted or taken over.
	Done func(error)
}

// Rejection describes a single event that LaunchDarkly rejected.
type Rejection struct {
	Batch   *Batch
	Event   int    // index in the batch
	Body    []byte // the event
	Status  int    // status code of the response
	Excerpt string // start of the response body
}

// Halt describes whether and why delivery is halted.
type Halt struct {
	Since    time.Time // zero if delivery is not halted
	Response string    // the last response
}

// Client sends batches to LaunchDarkly. Its methods are safe for concurrent use.
type Client struct {
	cfg         Config
	url         string
	destination string // for payload IDs
	metrics     *Metrics
	log         *zap.Logger

	running  sync.WaitGroup // deliveries and attempts
	watching sync.WaitGroup // watchToken

	mu                 sync.Mutex // guards the fields below
	limiter            limiter
	failures           map[Source]int // by partition: failed attempts since the last success
	ready              list.List      // jobs waiting for a slot, oldest first
	inFlight           int            // requests in flight
	wakeTimer          *time.Timer    // dispatches when the limiter allows the next start
	halt               Halt
	status             Status        // without Halt
	rejectedToken      string        // access token that LaunchDarkly last rejected, never logged
	stopWatch          chan struct{} // closed to stop watchToken; nil while it is not running
	consecutiveRejects int           // events set aside since the last accepted request
	acceptedRequests   int           // since the client was created
}

// New returns a client. It starts no goroutine.
func New(cfg Config) (*Client, error) {
	url, err := cfg.url()
	if err == nil {
		err = cfg.validate()
	}
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg.MaxInFlight, cfg.Timeout)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry(), NewBudget(1))
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Client{
		cfg: cfg, url: url, destination: cfg.destination(), metrics: cfg.Metrics, log: cfg.Log,
		limiter:  newLimiter(cfg.MaxInFlight, cfg.BackoffMin, cfg.BackoffMax),
		failures: map[Source]int{}, status: Status{Requests: map[string]int64{}},
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

// Deliver starts to deliver a batch and returns immediately. The batch is retried until it is
// delivered or ctx is done. When ctx is done, the in-flight attempt is canceled, no new one starts,
// and [Delivery.Done] is called. [Delivery.Until] ends a delivery without canceling its in-flight
// attempt, so that the outcome of that attempt is known. Do not deliver a batch twice. Splitting
// a batch releases its body.
func (c *Client) Deliver(ctx context.Context, d Delivery) {
	if d.Until == nil {
		d.Until = ctx
	}
	c.running.Add(1)
	c.addPart(&delivery{Delivery: d, ctx: ctx, parts: 1}, d.Batch.whole)
}

// Close waits for all deliveries to finish and closes the connections. To abort deliveries, cancel
// their contexts. Deliver must not be called after Close.
func (c *Client) Close() {
	c.running.Wait()
	c.mu.Lock()
	c.stopTokenWatch()
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

// enqueue appends a job to the queue, unless the job has been abandoned. The caller holds the
// mutex.
func (c *Client) enqueue(j *job) {
	if j.waiting {
		j.place = c.ready.PushBack(j)
		c.dispatch()
	}
}

// dispatch starts as many attempts as the limiter allows. The caller holds the mutex.
func (c *Client) dispatch() {
	for c.ready.Len() > 0 && c.inFlight < c.limiter.limit {
		if wait := time.Until(c.limiter.notBefore()); wait > 0 {
			c.dispatchAfter(wait)
			return
		}
		j := c.dequeue()
		if j.delivery.Until.Err() != nil {
			continue // abandonWaiting is about to finish it
		}
		j.waiting = false
		if !j.hasHalted {
			j.acceptedBefore = c.acceptedRequests
		}
		c.limiter.onStart(&j.attemptState)
		c.inFlight++
		c.metrics.inFlight.Set(float64(c.inFlight))
		c.running.Go(func() { c.attempt(j) })
	}
}

// dequeue removes the next job from the queue and returns it. That is the oldest one, or, while the
// destination is failing or delivery is halted, the oldest one of the highest priority. The caller
// holds the mutex.
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

// priority returns the priority of a queued job as a probe. It is lower for jobs that are likely to
// fail by themselves: those from partitions with recent failures, and, lowest, those that were
// rejected, halted, or split. The caller holds the mutex.
func (c *Client) priority(e *list.Element) int {
	j := e.Value.(*job)
	if j.rejects > 0 || j.hasHalted || j.part.events() < j.delivery.Batch.Events {
		return math.MinInt
	}
	return -c.failures[j.delivery.Batch.Source]
}

// dispatchAfter schedules a call of dispatch. The caller holds the mutex.
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

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

// Delivery is one batch on its way.
type Delivery struct {
	Batch *Batch
	// Until, a child of the delivery's context, is when attempts cease to start, while
	// the one under way goes on to its end. nil: the delivery's context.
	Until context.Context
	// Refused takes over an event that can never be delivered. It may block until
	// ctx, the delivery's, is done, and may be called for several events at a time.
	// An error is what Done gets, once the batch's other events have ended.
	Refused func(ctx context.Context, r Refusal) error
	// Done is called once, from a goroutine of the client: with nil when every
	// event was accepted or taken over, else with why not.
	Done func(error)
}

// Refusal tells of one event that LaunchDarkly refused by itself.
type Refusal struct {
	Batch   *Batch
	Event   int    // index in the batch
	Body    []byte // the event
	Status  int    // LaunchDarkly's
	Excerpt string // start of LaunchDarkly's answer
}

// Halt says whether and why LaunchDarkly refuses us.
type Halt struct {
	Since  time.Time // zero while it does not
	Answer string    // its last answer
}

// Client posts batches to LaunchDarkly. Its methods are safe for concurrent use.
type Client struct {
	cfg         Config
	address     string
	destination string // in payload IDs
	metrics     *Metrics
	log         *zap.Logger

	running  sync.WaitGroup // deliveries and attempts
	watching sync.WaitGroup // watchToken

	mu        sync.Mutex // guards the fields below
	pace      pace
	failures  map[Source]int // attempts that failed since one did not, per partition
	ready     list.List      // jobs that wait for a place in flight, in order
	active    int            // requests in flight
	wake      *time.Timer    // pumps when the pace allows it again
	halt      Halt
	status    Status        // without its Halt
	rejected  string        // the access token that was denied last; never logged
	stopWatch chan struct{} // closed to stop watchToken; nil while it does not run
	aside     int           // events set aside since one was accepted
	accepted  int           // requests accepted so far
}

// New returns a client. It starts nothing.
func New(cfg Config) (*Client, error) {
	address, err := cfg.url()
	if err == nil {
		err = cfg.check()
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
		cfg: cfg, address: address, destination: cfg.destination(), metrics: cfg.Metrics, log: cfg.Log,
		pace:     newPace(cfg.MaxInFlight, cfg.BackoffMin, cfg.BackoffMax),
		failures: map[Source]int{}, status: Status{Requests: map[string]int64{}},
	}, nil
}

// Address returns where requests are posted to.
func (c *Client) Address() string { return c.address }

// Halted tells whether LaunchDarkly refuses us.
func (c *Client) Halted() Halt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halt
}

// Deliver posts a batch and returns at once. The batch is retried until it is
// delivered or ctx is done. Then no further attempt starts, the one under way is
// cancelled, and [Delivery.Done] is called. [Delivery.Until] ends a delivery without
// cancelling, so that it is known what became of its last attempt. A batch is
// delivered once: its body is let go of when it is split.
func (c *Client) Deliver(ctx context.Context, d Delivery) {
	if d.Until == nil {
		d.Until = ctx
	}
	c.running.Add(1)
	c.add(&delivery{Delivery: d, ctx: ctx, parts: 1}, d.Batch.whole)
}

// Close waits for all deliveries, which their contexts end early, and closes the
// connections. No delivery may begin after it.
func (c *Client) Close() {
	c.running.Wait()
	c.mu.Lock()
	c.endWatch()
	c.mu.Unlock()
	c.watching.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wake != nil {
		c.wake.Stop()
	}
	if t, ok := c.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// enqueue gives a job its place among those that are ready, unless it has ended
// meanwhile. The caller holds the mutex.
func (c *Client) enqueue(j *job) {
	if j.waiting {
		j.place = c.ready.PushBack(j)
		c.pump()
	}
}

// pump starts as many attempts as the pace allows. The caller holds the mutex.
func (c *Client) pump() {
	for c.ready.Len() > 0 && c.active < c.pace.limit {
		if wait := time.Until(c.pace.notBefore()); wait > 0 {
			c.wakeAfter(wait)
			return
		}
		j := c.next()
		if j.delivery.Until.Err() != nil {
			continue // leave is about to end it
		}
		j.waiting = false
		if !j.denied {
			j.acceptedBefore = c.accepted
		}
		c.pace.start(&j.seen)
		c.active++
		c.metrics.inFlight.Set(float64(c.active))
		c.running.Go(func() { c.attempt(j) })
	}
}

// next takes the job whose turn it is: the oldest; or, while the destination fails or
// refuses us, the oldest of those with the best prospects. The caller holds the mutex.
func (c *Client) next() *job {
	turn := c.ready.Front()
	if c.pace.failing() || !c.halt.Since.IsZero() {
		for e := turn.Next(); e != nil; e = e.Next() {
			if c.prospects(e) > c.prospects(turn) {
				turn = e
			}
		}
	}
	j := c.ready.Remove(turn).(*job)
	j.place = nil
	return j
}

// prospects compares jobs that are ready: it may be what is in one partition that fails,
// or in a batch that was refused or denied, and not the destination. The caller holds the
// mutex.
func (c *Client) prospects(e *list.Element) int {
	j := e.Value.(*job)
	if j.refusals > 0 || j.denied || j.part.events() < j.delivery.Batch.Events {
		return math.MinInt
	}
	return -c.failures[j.delivery.Batch.Source]
}

// wakeAfter pumps again after wait. The caller holds the mutex.
func (c *Client) wakeAfter(wait time.Duration) {
	if c.wake != nil {
		c.wake.Reset(wait)
		return
	}
	c.wake = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pump()
	})
}

package sink

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Delivery is one batch on its way.
type Delivery struct {
	Batch *Batch
	// Refused takes over an event that can never be delivered. It may block until
	// ctx, the delivery's, is done; an error gives the delivery up.
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
	cfg     Config
	address string
	http    *http.Client
	metrics *Metrics
	log     *zap.Logger

	running sync.WaitGroup // attempts

	mu       sync.Mutex
	pace     pace           // guards
	ready    []*job         // guards: waiting for a place in flight, in order
	active   int            // guards: requests in flight
	failures map[Source]int // guards: per partition, attempts that failed since one did not
	wake     *time.Timer    // guards: fires when pace.notBefore has passed
	closed   bool           // guards
	halt     Halt           // guards
}

// New returns a client. It starts nothing.
func New(cfg Config) (*Client, error) {
	address, err := cfg.url()
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg.MaxInFlight)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry(), NewBudget(0))
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Client{
		cfg: cfg, address: address, metrics: cfg.Metrics, log: cfg.Log,
		http: &http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		failures: map[Source]int{},
		pace:     pace{max: cfg.MaxInFlight, limit: cfg.MaxInFlight, backoffMin: cfg.BackoffMin, backoffMax: cfg.BackoffMax},
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
// delivered or ctx is done. Then no further attempt starts, and [Delivery.Done] is
// called after the attempt under way, which is cancelled.
func (c *Client) Deliver(ctx context.Context, d Delivery) {
	j := c.newJob(ctx, &delivery{Delivery: d, parts: 1}, d.Batch.whole)
	if d.Batch.Records == 1 && d.Batch.Events > 1 && j.part.size > c.cfg.MaxBytes {
		c.split(j)
		return
	}
	c.enqueue(j)
}

// Close waits for the attempts under way and starts no others. Deliveries are to
// be ended before, by their context.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
	c.http.CloseIdleConnections()
}

// enqueue lets a job wait for a place in flight.
func (c *Client) enqueue(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	j.waiting = true
	c.ready = append(c.ready, j)
	c.pump()
}

// pump starts as many attempts as the pace allows. The caller holds the mutex.
func (c *Client) pump() {
	for len(c.ready) > 0 && c.active < c.pace.limit && !c.closed {
		if wait := time.Until(c.pace.notBefore); wait > 0 {
			c.wakeAfter(wait)
			return
		}
		j := c.next()
		if !j.waiting {
			continue // its context is done
		}
		j.waiting = false
		c.active++
		c.metrics.inFlight.Set(float64(c.active))
		c.running.Go(func() { c.attempt(j) })
	}
}

// next takes the job whose turn it is: the oldest; or, while nothing but failures
// comes back, the oldest of the partition that failed least, since it may be what
// is in one partition that fails, and not the destination. The caller holds the mutex.
func (c *Client) next() *job {
	i := 0
	if c.pace.failing() {
		for k, j := range c.ready {
			if c.failures[j.delivery.Batch.Source] < c.failures[c.ready[i].delivery.Batch.Source] {
				i = k
			}
		}
	}
	j := c.ready[i]
	c.ready = slices.Delete(c.ready, i, i+1)
	return j
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

// attempt posts a job once and decides what becomes of it.
func (c *Client) attempt(j *job) {
	a := c.post(j)
	gone := a.verdict == later && j.ctx.Err() != nil // our own doing: says nothing of LaunchDarkly

	c.mu.Lock()
	c.active--
	c.metrics.inFlight.Set(float64(c.active))
	if !gone {
		c.learn(a, j)
	}
	c.pump()
	c.mu.Unlock()

	events := j.part.high - j.part.low
	switch {
	case gone:
		j.finish(context.Cause(j.ctx))
	case a.verdict == accepted:
		c.metrics.delivered.Add(float64(events))
		c.metrics.lastDelivery.SetToCurrentTime()
		j.finish(nil)
	case a.verdict == denied: // the pace decides when
		c.metrics.retries.Inc()
		j.attempts++
		c.enqueue(j)
	case a.verdict == later:
		c.retry(j, a)
	case a.verdict == refused && j.refusals == 0: // LaunchDarkly's own SDKs try a 400 twice
		j.refusals++
		c.retry(j, a)
	case events > 1:
		c.split(j)
	default:
		c.setAside(j, a)
	}
}

// setAside hands a refused event to the caller.
func (c *Client) setAside(j *job, a answer) {
	raw, err := j.part.raw()
	if err == nil {
		c.metrics.refused.Inc()
		err = j.delivery.Refused(j.ctx, Refusal{
			Batch: j.delivery.Batch, Event: j.part.low, Body: raw[1 : len(raw)-1], Status: a.status, Excerpt: a.excerpt,
		})
	}
	j.finish(err)
}

// retry lets a job wait and then tries it again, as it is.
func (c *Client) retry(j *job, a answer) {
	c.metrics.retries.Inc()
	j.attempts++
	wait := a.retryAfter
	if wait == 0 {
		wait = backoff(j.attempts, c.cfg.BackoffMin, c.cfg.BackoffMax)
	}
	c.log.Debug("request will be retried", append(j.fields(a), zap.Duration("backoff", wait))...)
	c.mu.Lock()
	defer c.mu.Unlock()
	j.waiting = true
	j.timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if j.waiting {
			c.ready = append(c.ready, j)
			c.pump()
		}
	})
}

// split replaces a job by the two halves of its part.
func (c *Client) split(j *job) {
	left, right, err := j.part.split()
	if err != nil {
		j.finish(err)
		return
	}
	c.metrics.splits.Inc()
	d := j.delivery
	if j.part.high-j.part.low == d.Batch.Events {
		d.Batch.whole.body = nil // the halves replace it
	}
	d.add(2)
	c.enqueue(c.newJob(j.ctx, d, left))
	c.enqueue(c.newJob(j.ctx, d, right))
	j.finish(nil)
}

// learn adapts the pace to an answer, and logs the first failure of a run and its
// end. The caller holds the mutex.
func (c *Client) learn(a answer, j *job) {
	failing := c.pace.failures > 0
	c.pace.learn(a, time.Now())
	if a.verdict == later {
		c.failures[j.delivery.Batch.Source]++
	} else {
		delete(c.failures, j.delivery.Batch.Source)
	}
	switch a.verdict {
	case later:
		if !failing {
			c.log.Warn("LaunchDarkly does not take requests for the time being, retrying", j.fields(a)...)
		}
		return
	case denied:
		if c.halt.Since.IsZero() {
			c.halt.Since = time.Now()
			c.metrics.halts.Inc()
			c.metrics.halted.Set(1)
			c.log.Error("LaunchDarkly refuses us, halted: nothing is lost and nothing is delivered until address and credentials are right", j.fields(a)...)
		}
		c.halt.Answer = a.String()
		return
	case refused, tooLarge:
		c.log.Warn("LaunchDarkly refuses a body", j.fields(a)...)
	}
	if failing {
		c.log.Info("LaunchDarkly takes requests again", j.fields(a)...)
	}
	if !c.halt.Since.IsZero() {
		c.halt = Halt{}
		c.metrics.halted.Set(0)
	}
}

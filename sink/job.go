package sink

import (
	"container/list"
	"context"
	"time"

	"go.uber.org/zap"
)

// delivery is a batch being delivered, in one or several parts.
type delivery struct {
	Delivery
	ctx context.Context // for attempts

	// The client's mutex guards the fields below.
	parts int   // unfinished parts
	err   error // first error
}

// job is a part being delivered. Unguarded fields belong to the goroutine of its attempt.
type job struct {
	delivery *delivery
	part     part
	id       string      // payload ID
	attempts int         // failed attempts
	rejects  int         // responses that rejected the body
	unwatch  func() bool // stops watching Delivery.Until

	// The client's mutex guards the fields below.
	attemptState   attemptState
	hasHalted      bool          // at least one response had the verdict halted
	haltedAlone    bool          // halted again although another request was accepted in between
	acceptedBefore int           // Client.acceptedRequests at the last halt, or when the first attempt started
	waiting        bool          // not in flight, but in the queue or backing off
	place          *list.Element // in the queue; nil if not queued
	timer          *time.Timer   // of the last backoff
}

// addPart creates a job for a part and queues it.
func (c *Client) addPart(d *delivery, p part) {
	j := &job{delivery: d, part: p, id: d.Batch.payloadID(&p, c.destination), waiting: true}
	j.unwatch = context.AfterFunc(d.Until, func() { c.abandonWaiting(j) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(j)
}

// split replaces a part with its halves.
func (c *Client) split(d *delivery, p part) {
	left, right := p.split()
	c.metrics.splits.Inc()
	c.mu.Lock()
	d.parts++
	c.mu.Unlock()
	if p.events() == d.Batch.Events {
		d.Batch.whole.body = nil // the halves replace it in memory
	}
	c.addPart(d, left)
	c.addPart(d, right)
}

// requeue queues a job again after a failed attempt and the given wait. If the wait is 0, only the
// limiter delays the next attempt.
func (c *Client) requeue(j *job, wait time.Duration) {
	c.mu.Lock()
	abandoned := j.delivery.Until.Err() != nil // abandonWaiting ignores jobs in flight
	if !abandoned {
		j.attempts++
		j.waiting = true
		if wait == 0 {
			c.enqueue(j)
		} else {
			j.timer = time.AfterFunc(wait, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.enqueue(j)
			})
		}
	}
	c.mu.Unlock()
	if abandoned {
		c.attemptDone(j, context.Cause(j.delivery.Until))
	}
}

// abandonWaiting finishes a waiting job because its delivery allows no new attempt. It ignores jobs
// in flight, which watch their own context.
func (c *Client) abandonWaiting(j *job) {
	c.mu.Lock()
	waiting := j.waiting
	j.waiting = false
	if j.place != nil {
		c.ready.Remove(j.place)
	}
	if j.timer != nil {
		j.timer.Stop()
	}
	c.mu.Unlock()
	if waiting {
		c.partDone(j.delivery, context.Cause(j.delivery.Until))
	}
}

// attemptDone finishes a job after its last attempt.
func (c *Client) attemptDone(j *job, err error) {
	j.unwatch()
	c.partDone(j.delivery, err)
}

// partDone records that a part is finished. After the last part it finishes the delivery.
func (c *Client) partDone(d *delivery, err error) {
	c.mu.Lock()
	d.parts--
	if d.err == nil {
		d.err = err
	}
	if err != nil {
		delete(c.failures, d.Batch.Source) // the partition is being released and may never return
	}
	last, err := d.parts == 0, d.err
	c.mu.Unlock()
	if last {
		d.Done(err)
		c.running.Done()
	}
}

// fields returns log fields that describe an attempt of the job.
func (j *job) fields(r response) []zap.Field {
	b := j.delivery.Batch
	return []zap.Field{
		zap.String("topic", b.Source.Topic), zap.Int32("partition", b.Source.Partition),
		zap.Int64("offset", b.First), zap.Int64("next_offset", b.Next),
		zap.Int("events", j.part.events()), zap.Int("bytes", j.part.size),
		zap.Int("attempt", j.attempts+1), zap.Int("status", r.status), zap.String("response", r.excerpt),
	}
}

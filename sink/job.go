package sink

import (
	"container/list"
	"context"
	"time"

	"go.uber.org/zap"
)

// delivery is the state of a batch being delivered in one or more parts.
type delivery struct {
	Delivery
	ctx context.Context // context of the attempts

	// Client.mu guards the fields below.
	parts int   // unfinished parts
	err   error // first error
}

// job is the state of a part being delivered. The goroutine of the current attempt owns the fields
// that Client.mu does not guard.
type job struct {
	delivery *delivery
	part     part
	id       string      // payload ID
	attempts int         // failed attempts
	rejects  int         // responses that rejected the body
	unwatch  func() bool // stops watching Delivery.Until

	// Client.mu guards the fields below.
	attemptState   attemptState
	hasHalted      bool          // whether any response had the verdict halted
	haltedAlone    bool          // whether another request was accepted between two of this job's halted verdicts
	acceptedBefore int           // Client.acceptedRequests at the last halted verdict, or else at the attempt's start
	strays         int           // failed attempts that followed another request's success; see recordResponse
	waiting        bool          // queued or backing off, not in flight
	place          *list.Element // position in the queue; nil if not queued
	timer          *time.Timer   // timer of the last backoff; nil if there was none
}

// addPart creates a job for a part and queues it.
func (c *Client) addPart(d *delivery, p part) {
	j := &job{delivery: d, part: p, id: d.Batch.payloadID(&p, c.destination), waiting: true}
	j.unwatch = context.AfterFunc(d.Until, func() { c.abandonWaiting(j) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle() {
		c.outage = Outage{} // the failed batches were released
	}
	c.enqueue(j)
}

// split replaces a part with two jobs for its halves.
func (c *Client) split(d *delivery, p part) {
	left, right := p.split()
	c.metrics.splits.Inc()
	c.mu.Lock()
	d.parts++
	c.mu.Unlock()
	if p.events() == d.Batch.Events {
		d.Batch.whole.body = nil // release the memory; the halves have their own bodies
	}
	c.addPart(d, left)
	c.addPart(d, right)
}

// requeue queues a job again after a failed attempt, delayed by wait. If wait is 0, only the
// limiter delays the next attempt.
func (c *Client) requeue(j *job, wait time.Duration) {
	c.mu.Lock()
	abandoned := j.delivery.Until.Err() != nil // checked here, because abandonWaiting ignores in-flight jobs
	if !abandoned {
		j.attempts++
		j.waiting = true
		if wait == 0 {
			c.enqueue(j)
		} else {
			c.delayed[j] = time.Now().Add(wait)
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

// wake queues every job in backoff. A delay in Retry-After still applies, because the limiter
// respects it for all jobs. The caller must hold c.mu.
func (c *Client) wake() {
	for j := range c.delayed {
		if j.timer.Stop() { // otherwise its callback is about to queue the job
			c.enqueue(j)
		}
	}
}

// abandonWaiting finishes a waiting job whose delivery allows no new attempts. It ignores in-flight
// jobs, which finish when their attempt ends.
func (c *Client) abandonWaiting(j *job) {
	c.mu.Lock()
	waiting := j.waiting
	j.waiting = false
	delete(c.delayed, j)
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

// partDone records that a part is finished. After the last part, it finishes the delivery.
func (c *Client) partDone(d *delivery, err error) {
	c.mu.Lock()
	d.parts--
	if d.err == nil {
		d.err = err
	}
	if err != nil {
		delete(c.failures, d.Batch.Source) // the partition is being released and might not return
	}
	last, err := d.parts == 0, d.err
	c.mu.Unlock()
	if last {
		d.Done(err)
		c.running.Done()
	}
}

// fields returns the log fields for an attempt and its response.
func (j *job) fields(r response) []zap.Field {
	b := j.delivery.Batch
	fields := []zap.Field{
		zap.String("topic", b.Source.Topic), zap.Int32("partition", b.Source.Partition),
		zap.Int64("offset", b.First), zap.Int64("next_offset", b.Next),
		zap.Int("events", j.part.events()), zap.Int("bytes", j.part.size),
		zap.Int("attempt", j.attempts+1), zap.Int("status", r.status), zap.String("response", r.excerpt),
	}
	if r.location != "" {
		fields = append(fields, zap.String("location", r.location))
	}
	if advice := r.advice(); advice != "" {
		fields = append(fields, zap.String("advice", advice))
	}
	return fields
}

package sink

import (
	"container/list"
	"context"
	"time"

	"go.uber.org/zap"
)

// delivery is a batch on its way, in one or several parts.
type delivery struct {
	Delivery
	ctx context.Context // of the attempts

	// Guarded by the client's mutex.
	parts int   // not finished
	err   error // the first
}

// job is a part on its way. What is not guarded belongs to the goroutine of its
// attempt.
type job struct {
	delivery *delivery
	part     part
	id       string      // payload ID
	attempts int         // that failed
	refusals int         // answers that refused the body
	unwatch  func() bool // ends the watch over Delivery.Until

	// Guarded by the client's mutex.
	seen           seen
	denied         bool          // at least once
	deniedAlone    bool          // denied again although another request had been accepted
	acceptedBefore int           // Client.accepted at the last denial; before one, when the attempt started
	waiting        bool          // not in flight: in the queue, or until the timer fires
	place          *list.Element // in the queue; nil if it is not there
	timer          *time.Timer   // of the last backoff
}

// add lets a part wait for a place in flight.
func (c *Client) add(d *delivery, p part) {
	j := &job{delivery: d, part: p, id: d.Batch.payloadID(&p, c.destination), waiting: true}
	j.unwatch = context.AfterFunc(d.Until, func() { c.leave(j) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(j)
}

// split replaces a part by its halves.
func (c *Client) split(d *delivery, p part) {
	left, right := p.split()
	c.metrics.splits.Inc()
	c.mu.Lock()
	d.parts++
	c.mu.Unlock()
	if p.events() == d.Batch.Events {
		d.Batch.whole.body = nil // the halves take its place in memory
	}
	c.add(d, left)
	c.add(d, right)
}

// again lets a job wait once more, after an attempt that failed. Without a wait of
// its own the pace alone decides when its turn comes.
func (c *Client) again(j *job, wait time.Duration) {
	c.mu.Lock()
	gone := j.delivery.Until.Err() != nil // perhaps leave came while the job was in flight
	if !gone {
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
	if gone {
		c.finish(j, context.Cause(j.delivery.Until))
	}
}

// leave ends a job that waits, because no attempt of its delivery may start any
// more. An attempt under way sees its context itself.
func (c *Client) leave(j *job) {
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
		c.end(j.delivery, context.Cause(j.delivery.Until))
	}
}

// finish ends a job that was in flight.
func (c *Client) finish(j *job, err error) {
	j.unwatch()
	c.end(j.delivery, err)
}

// end notes that a part is finished, and with the last one the delivery.
func (c *Client) end(d *delivery, err error) {
	c.mu.Lock()
	d.parts--
	if d.err == nil {
		d.err = err
	}
	if err != nil {
		delete(c.failures, d.Batch.Source) // its partition is being released, and may never come back
	}
	last, err := d.parts == 0, d.err
	c.mu.Unlock()
	if last {
		d.Done(err)
		c.running.Done()
	}
}

// fields name the job in logs.
func (j *job) fields(a answer) []zap.Field {
	b := j.delivery.Batch
	return []zap.Field{
		zap.String("topic", b.Source.Topic), zap.Int32("partition", b.Source.Partition),
		zap.Int64("offset", b.First), zap.Int64("next_offset", b.Next),
		zap.Int("events", j.part.events()), zap.Int("bytes", j.part.size),
		zap.Int("attempt", j.attempts+1), zap.Int("status", a.status), zap.String("answer", a.excerpt),
	}
}

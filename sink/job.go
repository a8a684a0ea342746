package sink

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// delivery counts the parts of a batch that are not finished.
type delivery struct {
	Delivery

	mu    sync.Mutex
	parts int   // guards
	err   error // guards: the first
}

// add notes that there are n parts more.
func (d *delivery) add(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parts += n
}

// finish notes that a part is finished.
func (d *delivery) finish(err error) {
	d.mu.Lock()
	d.parts--
	if d.err == nil {
		d.err = err
	}
	done, err := d.parts == 0, d.err
	d.mu.Unlock()
	if done {
		d.Done(err)
	}
}

// job is a part on its way. Its fields belong to the goroutine of its attempt, and
// while there is none to the client's mutex.
type job struct {
	ctx      context.Context
	delivery *delivery
	part     part
	id       string      // payload ID
	attempts int         // that failed
	refusals int         // answers that refused the body
	waiting  bool        // in the client's queue, or for the timer
	timer    *time.Timer // runs while the job backs off
	unwatch  func() bool // ends the watch over ctx
}

// newJob returns a job for a part. If ctx is done while the job waits, it is
// finished at once; an attempt under way sees ctx itself.
func (c *Client) newJob(ctx context.Context, d *delivery, p part) *job {
	j := &job{ctx: ctx, delivery: d, part: p, id: d.Batch.payloadID(&p, c.address)}
	j.unwatch = context.AfterFunc(ctx, func() {
		c.mu.Lock()
		waiting := j.waiting
		j.waiting = false // the queue skips it
		if j.timer != nil {
			j.timer.Stop()
		}
		c.mu.Unlock()
		if waiting {
			d.finish(context.Cause(ctx))
		}
	})
	return j
}

// finish ends a job that does not wait.
func (j *job) finish(err error) {
	j.unwatch()
	j.delivery.finish(err)
}

// fields name the job in logs.
func (j *job) fields(a answer) []zap.Field {
	b := j.delivery.Batch
	return []zap.Field{
		zap.String("topic", b.Source.Topic), zap.Int32("partition", b.Source.Partition),
		zap.Int64("offset", b.First), zap.Int64("next_offset", b.Next),
		zap.Int("events", j.part.high-j.part.low), zap.Int("bytes", j.part.size),
		zap.Int("attempt", j.attempts+1), zap.Int("status", a.status), zap.String("answer", a.excerpt),
	}
}

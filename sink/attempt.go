package sink

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// attempt posts a job once and decides what becomes of it.
func (c *Client) attempt(j *job) {
	if j.attempts > 0 {
		c.countRetry()
	}
	a := c.post(j)
	ctx := j.delivery.ctx
	gone := a.verdict == later && ctx.Err() != nil // our own doing: says nothing of LaunchDarkly

	c.mu.Lock()
	c.active--
	c.metrics.inFlight.Set(float64(c.active))
	c.reassess(&a, j)
	if !gone {
		c.learn(a, j)
	}
	c.pump()
	c.mu.Unlock()

	switch {
	case gone:
		c.finish(j, context.Cause(ctx))
	case a.verdict == accepted:
		c.countDelivery(j.part.events())
		c.finish(j, nil)
	case a.verdict == denied:
		c.again(j, 0)
	case a.verdict == later:
		c.retry(j, a)
	case a.verdict == refused && j.refusals == 0: // LaunchDarkly's own SDKs try a 400 twice
		j.refusals++
		c.retry(j, a)
	case j.part.events() > 1:
		j.unwatch()
		c.split(j.delivery, j.part)
	default:
		c.setAside(j, a)
	}
}

// reassess changes the verdict where other responses show that this one means something
// else. When many events were set aside and nothing was accepted since, it is not the events
// that are at fault, and a rejected body becomes a halt. When others are accepted, it is not
// the destination, and a denial becomes a failure of this batch. The caller holds the mutex.
func (c *Client) reassess(a *answer, j *job) {
	switch {
	case a.verdict == accepted:
		c.accepted++
		c.aside = 0
	case a.verdict == denied && a.status != 0:
		if c.noteDenial(j) {
			a.verdict = later
		}
	case a.verdict != refused && a.verdict != tooLarge:
	case c.aside == mostAside:
		a.verdict = denied
		j.denied, j.acceptedBefore = true, c.accepted
	case j.part.events() == 1 && (a.verdict == tooLarge || j.refusals > 0): // attempt sets it aside
		c.aside++
	}
}

// noteDenial records that LaunchDarkly denied j, and reports whether what is in j is at
// fault: another request was accepted since j was last denied or, at its first denial, since
// its attempt started. If another was accepted between two denials, j stays at fault, because
// it may be the only one that is sent for hours. Then only several batches that fail together,
// with none accepted, make its denial one of the destination. The caller holds the mutex.
func (c *Client) noteDenial(j *job) bool {
	others := c.accepted > j.acceptedBefore
	j.deniedAlone = j.deniedAlone || j.denied && others
	j.denied, j.acceptedBefore = true, c.accepted
	return others || j.deniedAlone && !c.pace.failing()
}

// mostAside is how many events are set aside in a row. Without it, a proxy in
// LaunchDarkly's place that answers 400 would empty the topic.
const mostAside = 100

// retry lets a job back off.
func (c *Client) retry(j *job, a answer) {
	wait := a.retryAfter
	if wait == 0 {
		wait = backoff(j.attempts+1, c.cfg.BackoffMin, c.cfg.BackoffMax)
	}
	c.log.Debug("request will be retried", append(j.fields(a), zap.Duration("backoff", wait))...)
	c.again(j, wait)
}

// setAside hands a refused event to the caller.
func (c *Client) setAside(j *job, a answer) {
	c.countRejection()
	raw := j.part.raw()
	c.finish(j, j.delivery.Refused(j.delivery.ctx, Refusal{
		Batch: j.delivery.Batch, Event: j.part.low, Body: raw[1 : len(raw)-1], Status: a.status, Excerpt: a.excerpt,
	}))
}

// learn adapts the pace to an answer, and logs the first failure of a run and its
// end. The caller holds the mutex.
func (c *Client) learn(a answer, j *job) {
	failing := c.pace.failed > 0
	c.pace.learn(a, &j.seen, time.Now())
	if a.verdict == later {
		c.failures[j.delivery.Batch.Source]++
	} else {
		delete(c.failures, j.delivery.Batch.Source)
	}
	switch a.verdict {
	case later:
		switch {
		case failing:
		case a.status != 0 && judge(a.status) == denied:
			c.log.Warn("batch rejected by LaunchDarkly while others are accepted, retrying only this batch", j.fields(a)...)
		default:
			c.log.Warn("LaunchDarkly does not take requests for the time being, retrying", j.fields(a)...)
		}
		return
	case denied:
		c.rejected = a.token
		if c.halt.Since.IsZero() {
			if c.cfg.Endpoint == MetricImport {
				c.startWatch()
			}
			c.halt.Since = time.Now()
			c.metrics.halts.Inc()
			c.metrics.halted.Set(1)
			c.log.Error("LaunchDarkly refuses us, halted: nothing is lost and nothing is delivered until address and credentials are right", j.fields(a)...)
		}
		c.halt.Answer = a.String()
		return
	case refused, tooLarge:
		if j.part.events() == j.delivery.Batch.Events && j.refusals == 0 {
			c.log.Warn("LaunchDarkly refuses a batch, which is split until the event is found", j.fields(a)...)
		}
	}
	if failing {
		c.log.Info("LaunchDarkly takes requests again", j.fields(a)...)
	}
	if !c.halt.Since.IsZero() {
		c.halt = Halt{}
		c.endWatch()
		c.metrics.halted.Set(0)
	}
}

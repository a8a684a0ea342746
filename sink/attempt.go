package sink

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// attempt sends a job once and acts on the response.
func (c *Client) attempt(j *job) {
	if j.attempts > 0 {
		c.countRetry()
	}
	r := c.send(j)
	ctx := j.delivery.ctx
	canceled := r.verdict == retryable && ctx.Err() != nil // the caller canceled the request

	c.mu.Lock()
	c.inFlight--
	c.metrics.inFlight.Set(float64(c.inFlight))
	c.reassess(&r, j)
	if !canceled {
		c.recordResponse(r, j)
	}
	c.dispatch()
	c.mu.Unlock()

	switch {
	case canceled:
		c.attemptDone(j, context.Cause(ctx))
	case r.verdict == accepted:
		c.countDelivery(j.part.events())
		c.attemptDone(j, nil)
	case r.verdict == halted:
		c.requeue(j, 0)
	case r.verdict == retryable:
		c.retry(j, r)
	case r.verdict == rejected && j.rejects == 0: // retry once, like LaunchDarkly's SDKs
		j.rejects++
		c.retry(j, r)
	case j.part.events() > 1:
		j.unwatch()
		c.split(j.delivery, j.part)
	default:
		c.setAside(j, r)
	}
}

// reassess adjusts r's verdict in light of other responses. After maxConsecutiveRejects rejected
// events in a row, it blames the destination and changes the verdict for a rejected body to halted.
// While other requests are accepted, it blames the batch and changes a halted verdict to retryable.
// The caller must hold c.mu.
func (c *Client) reassess(r *response, j *job) {
	switch {
	case r.verdict == accepted:
		c.acceptedRequests++
		c.consecutiveRejects = 0
	case r.verdict == halted && r.status != 0:
		if c.recordHalt(j) {
			r.verdict = retryable
		}
	case r.verdict != rejected && r.verdict != tooLarge:
	case c.consecutiveRejects == maxConsecutiveRejects:
		r.verdict = halted
		j.hasHalted, j.acceptedBefore = true, c.acceptedRequests
	case j.part.events() == 1 && (r.verdict == tooLarge || j.rejects > 0): // attempt sets the event aside
		c.consecutiveRejects++
	}
}

// recordHalt records a halted verdict for j and reports whether only j is at fault. It returns true
// if another request was accepted since j's previous halted verdict. If j has no previous halted
// verdict, the start of the attempt counts instead. After another request has been accepted between
// two of j's halted verdicts, recordHalt returns true for every later one as well, unless the
// destination is failing. Without this rule, j would halt delivery whenever no other batch is being
// sent. The caller must hold c.mu.
func (c *Client) recordHalt(j *job) (onlyThis bool) {
	othersAccepted := c.acceptedRequests > j.acceptedBefore
	j.haltedAlone = j.haltedAlone || j.hasHalted && othersAccepted
	j.hasHalted, j.acceptedBefore = true, c.acceptedRequests
	return othersAccepted || j.haltedAlone && !c.limiter.failing()
}

// maxConsecutiveRejects is the maximum number of events set aside in a row. Without this limit, a
// proxy that responds with 400 in LaunchDarkly's place would cause every event to be set aside.
const maxConsecutiveRejects = 100

// retry requeues j after the Retry-After delay or, without one, after a backoff.
func (c *Client) retry(j *job, r response) {
	wait := r.retryAfter
	if wait == 0 {
		wait = backoff(j.attempts+1, c.cfg.BackoffMin, c.maxBackoff(j))
	}
	c.log.Debug("request failed, retrying", append(j.fields(r), zap.Duration("backoff", wait))...)
	c.requeue(j, wait)
}

// maxBackoff returns the upper bound of j's backoff. Only a batch that fails repeatedly while others
// succeed backs off further than the limiter does. Any other failure can be part of an outage.
func (c *Client) maxBackoff(j *job) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (j.haltedAlone || j.strays >= strayFailures) && !c.limiter.failing() {
		return c.cfg.BackoffMax
	}
	return c.limiter.backoffMax
}

// setAside passes a rejected event to [Delivery.Rejected] and finishes the job.
func (c *Client) setAside(j *job, r response) {
	c.countRejection()
	raw := j.part.raw()
	c.attemptDone(j, j.delivery.Rejected(j.delivery.ctx, Rejection{
		Batch: j.delivery.Batch, Event: j.part.low, Body: raw[1 : len(raw)-1], Status: r.status, Excerpt: r.excerpt,
	}))
}

// recordResponse updates the limiter and the halt state, and logs failures and recoveries. Most
// failures are isolated and are logged only at debug level (see retry). The others are logged as
// follows:
//   - A halt is logged immediately.
//   - An outage is logged once, when no request has succeeded within outageAfter of a failure.
//   - A batch is logged if other requests keep succeeding between its failures; see strayFailures.
//     All such batches together are logged at most once per strayInterval.
//   - A batch whose verdict was changed from halted to retryable is logged, unless another failure
//     has occurred since the last success; see reassess.
//   - A batch is logged when it is first rejected, before its events are isolated.
//   - An unreachable destination is logged once; see recordOutage.
//   - A recovery is logged if the halt or the outage was logged.
//
// A logged recovery also ends the backoff of every batch.
//
// The caller must hold c.mu.
func (c *Client) recordResponse(r response, j *job) {
	failing := c.limiter.failedBatches > 0
	othersSucceed := c.limiter.recovered(&j.attemptState)
	c.limiter.onResponse(r, &j.attemptState, time.Now())
	c.recordOutage(r, j)
	if r.verdict == retryable {
		c.failures[j.delivery.Batch.Source]++
	} else {
		delete(c.failures, j.delivery.Batch.Source)
	}
	switch r.verdict {
	case retryable:
		if r.status != 0 && classify(r.status) == halted {
			if !failing {
				c.log.Warn("batch rejected by LaunchDarkly while others are accepted, retrying only this batch",
					j.fields(r)...)
			}
			return
		}
		if othersSucceed {
			c.recordStray(r, j)
		}
		if j.strays < strayFailures {
			c.watchOutage(r, j)
		}
		return
	case halted:
		c.rejectedCredentials = r.credentials
		if c.halt.Since.IsZero() {
			c.startWatch()
			c.halt.Since = time.Now()
			c.metrics.halts.Inc()
			c.metrics.halted.Set(1)
			c.log.Error("delivery halted: LaunchDarkly rejected the URL, the credentials, or every event",
				j.fields(r)...)
		}
		c.halt.Cause, c.halt.Advice = r.cause(), r.advice()
		return
	case rejected, tooLarge:
		if j.part.events() == j.delivery.Batch.Events && j.rejects == 0 {
			c.log.Warn("batch rejected by LaunchDarkly, isolating the rejected events", j.fields(r)...)
		}
	}
	if c.outageLogged || !c.halt.Since.IsZero() {
		c.log.Info("LaunchDarkly available again", j.fields(r)...)
		c.wake()
	}
	c.outageLogged = false
	if !c.halt.Since.IsZero() {
		c.halt = Halt{}
		c.endWatch()
		c.metrics.halted.Set(0)
	}
}

const (
	// outageAfter is the time without a successful request after which a failure counts as an
	// outage. It allows several attempts even if only one batch is being sent.
	outageAfter = 3 * time.Second
	// strayFailures is the number of failures after which a batch is logged. A failure counts only
	// if another request has succeeded since the batch's previous failure.
	strayFailures = 4
	// strayInterval is the minimum time between two log entries about batches that fail repeatedly.
	strayInterval = time.Minute
)

// watchOutage logs an outage once outageAfter has passed, unless a request succeeds in the
// meantime. Only the first call for a series of failures has an effect. An outage is not logged
// during a halt, or if no failed batch is left to retry. The caller must hold c.mu.
func (c *Client) watchOutage(r response, j *job) {
	series := c.limiter.series
	if c.watchedSeries == series {
		return
	}
	c.watchedSeries = series
	fields := j.fields(r)
	time.AfterFunc(outageAfter, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.limiter.series != series || !c.halt.Since.IsZero() {
			return
		}
		if len(c.failures) == 0 { // the failed batches were released, so the series may continue later
			c.watchedSeries = 0
			return
		}
		c.outageLogged = true
		c.log.Warn("LaunchDarkly unavailable, retrying", fields...)
	})
}

// recordStray counts a batch's failure that followed another request's success, and logs the batch
// if it fails repeatedly. The caller must hold c.mu.
func (c *Client) recordStray(r response, j *job) {
	j.strays++
	if j.strays >= strayFailures && time.Since(c.strayWarning) >= strayInterval {
		c.strayWarning = time.Now()
		c.log.Warn("batch fails repeatedly while other requests succeed, retrying", j.fields(r)...)
	}
}

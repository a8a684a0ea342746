package sink

import (
	"math/rand/v2"
	"time"
)

// limiter decides how many requests may be in flight and when the next one may start. It watches
// the destination as a whole; the backoff of a single batch is up to the client.
//
// The destination is failing once several different batches have failed since the last success. A
// single batch that fails repeatedly says nothing about the destination and slows down no other.
//   - The concurrency is halved when the destination is failing or asks for fewer requests (429,
//     503). It is raised by one per accepted request, up to the configured maximum. Requests that
//     were in flight together and fail together halve it once, because they may have shared a
//     connection.
//   - No request starts before Retry-After has passed. While the destination is failing, starts are
//     also delayed by a backoff that grows with each halving. The first success ends that backoff.
//   - While delivery is halted, one probe is sent at a time, after a random delay of half to all of
//     the maximum backoff. A batch that is rejected while others are accepted causes no halt; see
//     [Client.recordHalt].
//
// All fields are guarded by the client's mutex.
type limiter struct {
	max                    int
	backoffMin, backoffMax time.Duration

	limit         int       // maximum concurrency, from 1 to max
	series        int       // number of the current series of failures; a success starts a new one
	failedBatches int       // batches that failed in this series
	backoffSteps  int       // backoffs in this series
	halvings      int       // an attempt started before the last halving causes no further one
	retryAfter    time.Time // no attempt starts earlier, even after a success
	nextProbe     time.Time // no attempt starts earlier, unless a request succeeds
}

// attemptState is the state that the limiter keeps for a job.
type attemptState struct {
	series   int // in which the job last failed
	halvings int // when its current attempt started
}

// newLimiter returns a limiter without failures.
func newLimiter(maxInFlight int, backoffMin, backoffMax time.Duration) limiter {
	return limiter{max: maxInFlight, backoffMin: backoffMin, backoffMax: backoffMax, limit: maxInFlight, series: 1}
}

// maxStrayFailures is the number of batches that may fail in a series before the destination is
// considered failing.
const maxStrayFailures = 3

// failing reports whether the destination as a whole is failing.
func (l *limiter) failing() bool { return l.failedBatches > maxStrayFailures }

// notBefore returns the time before which no attempt may start.
func (l *limiter) notBefore() time.Time { return latest(l.retryAfter, l.nextProbe) }

// onStart records that an attempt of a job starts.
func (l *limiter) onStart(s *attemptState) { s.halvings = l.halvings }

// onResponse adjusts the limits to the outcome of a job's attempt.
func (l *limiter) onResponse(r response, s *attemptState, now time.Time) {
	if !r.failed() {
		l.series++
		l.failedBatches, l.backoffSteps, l.nextProbe = 0, 0, time.Time{}
		if r.verdict == accepted {
			l.limit = min(l.limit+1, l.max)
		}
		return
	}
	if s.series != l.series {
		s.series = l.series
		l.failedBatches++
	}
	l.retryAfter = latest(l.retryAfter, now.Add(r.retryAfter))
	switch {
	case r.verdict == halted:
		l.limit = 1
		l.nextProbe = now.Add(l.backoffMax/2 + rand.N(l.backoffMax/2+1))
	case s.halvings == l.halvings && (l.failing() || r.overloaded()):
		l.halvings++
		l.limit = max(l.limit/2, 1)
		if l.failing() {
			l.backoffSteps++
			l.nextProbe = latest(l.nextProbe, now.Add(backoff(l.backoffSteps, l.backoffMin, l.backoffMax)))
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// backoff returns the delay after the given number of failed attempts, which must be at least 1.
// The bound grows exponentially from least to most, and the delay is drawn from 0 to the bound
// (full jitter).
func backoff(attempts int, least, most time.Duration) time.Duration {
	bound := most
	if shift := attempts - 1; least < most>>shift {
		bound = least << shift
	}
	return rand.N(bound + 1)
}

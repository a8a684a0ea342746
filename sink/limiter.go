package sink

import (
	"math/rand/v2"
	"time"
)

// limiter decides how many requests may be in flight and when the next one may start. The limiter
// tracks the destination's state. The client handles the backoff of individual batches.
//
// If more than maxStrayFailures batches have failed since the last success, the destination counts
// as failing. A single batch that fails repeatedly therefore does not slow down the others.
//   - Concurrency is halved when the destination is failing or responds with 429 or 503. Each
//     accepted request increases concurrency by one, up to the configured maximum. Requests in
//     flight together cause only one halving, because they may have shared a connection.
//   - No request starts before the delay in Retry-After has passed. While the destination is
//     failing, requests are also delayed by a backoff that grows with each halving, up to
//     maxProbeInterval. The first success ends this backoff.
//   - If a rate is configured, the events of a request delay the next request. The rate applies to
//     all requests, including retries. It neither splits a batch nor cancels a request.
//   - While delivery is halted, one probe is sent at a time, after a random delay of 50% to 100% of
//     maxProbeInterval, or of the maximum backoff if that is shorter. A batch with a halted verdict
//     does not halt delivery while others are accepted; see [Client.recordHalt].
//
// Client.mu guards all fields.
type limiter struct {
	max                    int
	backoffMin, backoffMax time.Duration
	perSecond              int // maximum rate of events; 0 for no limit

	limit         int       // current concurrency limit, from 1 to max
	series        int       // number of the current series of failures; a success starts a new one
	failedBatches int       // batches that failed in the current series
	backoffSteps  int       // backoffs in the current series
	halvings      int       // number of halvings; attempts in flight at a halving do not cause another
	retryAfter    time.Time // no attempt starts before this time, even after a success
	rated         time.Time // no attempt starts before this time, because of perSecond
	nextProbe     time.Time // no attempt starts before this time unless a request succeeds or the credentials change
}

// attemptState is the limiter's state for one job.
type attemptState struct {
	series   int // series in which the job last failed
	halvings int // limiter.halvings when the current attempt started
}

// newLimiter returns a limiter that allows cfg.MaxInFlight concurrent requests.
func newLimiter(cfg *Config) limiter {
	return limiter{
		max: cfg.MaxInFlight, limit: cfg.MaxInFlight, series: 1, perSecond: cfg.MaxEventsPerSecond,
		backoffMin: cfg.BackoffMin, backoffMax: min(cfg.BackoffMax, maxProbeInterval),
	}
}

// maxProbeInterval is the maximum time between the end of a failed attempt and the start of the
// next one during an outage, unless LaunchDarkly asks for a longer delay. It bounds the time until
// each client detects the end of the outage, regardless of [Config.BackoffMax].
const maxProbeInterval = 10 * time.Second

// maxStrayFailures is the number of failed batches in a series beyond which the destination counts
// as failing.
const maxStrayFailures = 3

// failing reports whether the destination counts as failing; see maxStrayFailures.
func (l *limiter) failing() bool { return l.failedBatches > maxStrayFailures }

// notBefore returns the earliest time at which the next attempt may start.
func (l *limiter) notBefore() time.Time { return latest(latest(l.retryAfter, l.nextProbe), l.rated) }

// onStart records the start of a job's attempt, with the given number of events.
func (l *limiter) onStart(s *attemptState, events int, now time.Time) {
	s.halvings = l.halvings
	if l.perSecond > 0 {
		// Requests that start late, because timers are late, are made up for.
		earliest := latest(l.rated, now.Add(-maxLate))
		l.rated = earliest.Add(time.Duration(events) * time.Second / time.Duration(l.perSecond))
	}
}

// maxLate is the delay that the rate makes up for. It allows a burst of this duration after a
// pause.
const maxLate = 100 * time.Millisecond

// recovered reports whether a request has succeeded since the job's last failure.
func (l *limiter) recovered(s *attemptState) bool { return s.series != 0 && s.series != l.series }

// onResponse updates the limiter with the outcome of a job's attempt.
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
// The delay is random between 0 and a bound (full jitter). The bound starts at the argument least,
// doubles with each attempt, and never exceeds the argument most.
func backoff(attempts int, least, most time.Duration) time.Duration {
	bound := most
	if shift := attempts - 1; least < most>>shift {
		bound = least << shift
	}
	return rand.N(bound + 1)
}

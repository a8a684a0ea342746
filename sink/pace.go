package sink

import (
	"math/rand/v2"
	"time"
)

// pace decides how many requests may be in flight and when the next may start.
// It watches the destination as a whole; a batch's own retries are the client's.
//
// Requests at once: halved when the destination asks for less (429, 503) or fails
// repeatedly, raised by one for each success, up to the configured number.
// Start: not before Retry-After has passed, nor, while every attempt fails, before
// a backoff that grows with the failures. A single batch that fails among others
// that succeed slows nobody down.
//
// While the destination refuses us there is one slow attempt at a time, after half
// to all of the longest backoff.
//
// It is guarded by the client's mutex.
type pace struct {
	max                    int
	backoffMin, backoffMax time.Duration

	limit     int       // requests at once, 1 to max
	failures  int       // attempts that failed since the last that did not
	notBefore time.Time // no attempt starts earlier
}

// steady is how many failures in a row still pass as bad luck.
const steady = 3

// learn takes in what came of an attempt.
func (p *pace) learn(a answer, now time.Time) {
	if a.verdict != later && a.verdict != denied {
		p.failures = 0
	} else {
		p.failures++
	}
	failing := p.failing()
	switch {
	case a.verdict == accepted:
		p.limit = min(p.limit+1, p.max)
	case a.verdict == denied:
		p.limit = 1
		p.hold(now.Add(p.backoffMax/2 + rand.N(p.backoffMax/2+1))) // slow, but not for ever
	case a.verdict == later && (failing || a.status == 429 || a.status == 503):
		p.limit = max(p.limit/2, 1)
		if failing {
			p.hold(now.Add(backoff(p.failures-steady, p.backoffMin, p.backoffMax)))
		}
		p.hold(now.Add(a.retryAfter))
	}
}

// failing says whether the destination as a whole seems to fail.
func (p *pace) failing() bool { return p.failures > steady }

// hold lets no attempt start before t.
func (p *pace) hold(t time.Time) {
	if t.After(p.notBefore) {
		p.notBefore = t
	}
}

// backoff returns how long to wait after so many failed attempts (from 1 on):
// exponential, capped, with full jitter.
func backoff(attempts int, least, most time.Duration) time.Duration {
	bound := most
	if shift := attempts - 1; shift < 32 && least<<shift < most && least<<shift > 0 {
		bound = least << shift
	}
	return rand.N(bound + 1)
}

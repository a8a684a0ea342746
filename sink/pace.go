package sink

import (
	"math/rand/v2"
	"time"
)

// pace decides how many requests may be in flight and when the next may start.
// It watches the destination as a whole; a batch's own retries are the client's.
//
// The destination fails when several batches have failed, each at least once, since
// the last success. A single batch that fails again and again says nothing of the
// destination and slows nobody down.
//
//   - Requests at once: halved when the destination fails or asks for less (429,
//     503), raised by one for each success, up to the configured number. Requests
//     that were in flight together and fail together halve it once, because one lost
//     connection can carry them all.
//   - Start: not before Retry-After has passed, nor, while the destination fails,
//     before a backoff that grows each time that the number is halved. The first
//     success ends that backoff.
//   - While the destination refuses us there is one attempt at a time, after half
//     to all of the longest backoff. A denial of one batch while others are accepted
//     is not the destination's; see [Client.noteDenial].
//
// It is guarded by the client's mutex.
type pace struct {
	max                    int
	backoffMin, backoffMax time.Duration

	limit  int       // requests at once, 1 to max
	run    int       // counts successes, and so names the time since the last one
	failed int       // batches that failed in this run
	steps  int       // of the backoff in this run
	round  int       // counts halvings: an attempt from before the last one causes no other
	asked  time.Time // Retry-After: no attempt starts earlier
	probe  time.Time // nor earlier than this, unless there is a success before
}

// seen is what the pace remembers of a job.
type seen struct {
	run   int // in which the job failed last
	round int // in which its attempt started
}

// newPace returns a pace without failures.
func newPace(most int, backoffMin, backoffMax time.Duration) pace {
	return pace{max: most, backoffMin: backoffMin, backoffMax: backoffMax, limit: most, run: 1}
}

// steady is how many batches may fail in a run and still be bad luck.
const steady = 3

// failing says whether the destination fails as a whole.
func (p *pace) failing() bool { return p.failed > steady }

// notBefore returns the time before which no attempt starts.
func (p *pace) notBefore() time.Time { return latest(p.asked, p.probe) }

// start notes that a job's attempt starts.
func (p *pace) start(s *seen) { s.round = p.round }

// learn takes in what came of a job's attempt.
func (p *pace) learn(a answer, s *seen, now time.Time) {
	if !a.failed() {
		p.run++
		p.failed, p.steps, p.probe = 0, 0, time.Time{}
		if a.verdict == accepted {
			p.limit = min(p.limit+1, p.max)
		}
		return
	}
	if s.run != p.run {
		s.run = p.run
		p.failed++
	}
	p.asked = latest(p.asked, now.Add(a.retryAfter))
	switch {
	case a.verdict == denied:
		p.limit = 1
		p.probe = now.Add(p.backoffMax/2 + rand.N(p.backoffMax/2+1))
	case s.round == p.round && (p.failing() || a.asksForLess()):
		p.round++
		p.limit = max(p.limit/2, 1)
		if p.failing() {
			p.steps++
			p.probe = latest(p.probe, now.Add(backoff(p.steps, p.backoffMin, p.backoffMax)))
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// backoff returns how long to wait after so many failed attempts (from 1 on):
// exponential, capped, with full jitter.
func backoff(attempts int, least, most time.Duration) time.Duration {
	bound := most
	if shift := attempts - 1; least < most>>shift {
		bound = least << shift
	}
	return rand.N(bound + 1)
}

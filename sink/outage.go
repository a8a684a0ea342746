package sink

import "time"

// Outage describes a series of failed attempts that are retried. Any other outcome of an attempt
// ends the series.
type Outage struct {
	Since    time.Time // time of the first failure; zero if requests succeed or none is waiting
	Attempts int       // failed attempts, of all batches
	Next     time.Time // when the next attempt is due; not in the future if it is in flight or imminent
	Cause    string    // status or error of the latest failure, without the response body
	Advice   string    // how to fix it; empty if unknown
	// Unreachable reports whether there has been no response since the client was created, and the
	// address seems to be wrong. Unreachable is false before unreachableAfter has passed.
	Unreachable bool
}

// unreachableAfter is the duration of an outage after which the destination can count as
// unreachable.
const unreachableAfter = 30 * time.Second

// recordOutage updates the outage with the outcome of j's attempt. It logs once that the
// destination is unreachable. The caller must hold c.mu.
func (c *Client) recordOutage(r response, j *job) {
	c.responded = c.responded || r.status != 0
	if r.verdict != retryable {
		c.outage = Outage{}
		return
	}
	o := &c.outage
	if o.Attempts == 0 {
		o.Since = time.Now()
	}
	o.Attempts++
	o.Cause, o.Advice = r.cause(), r.advice()
	o.Unreachable = !c.responded && r.wrongAddress() // currentOutage also checks the duration
	if o.Unreachable && !c.unreachable && time.Since(o.Since) >= unreachableAfter {
		c.unreachable = true
		c.log.Error("no response from LaunchDarkly since start; delivery blocked", j.fields(r)...)
	}
}

// currentOutage returns the outage for a [Status]. The caller must hold c.mu.
func (c *Client) currentOutage() Outage {
	o := c.outage
	if o.Attempts == 0 || c.idle() {
		return Outage{}
	}
	o.Unreachable = o.Unreachable && time.Since(o.Since) >= unreachableAfter
	if c.inFlight+c.ready.Len() == 0 {
		for _, due := range c.delayed {
			if o.Next.IsZero() || due.Before(o.Next) {
				o.Next = due
			}
		}
	}
	if c.inFlight == 0 {
		o.Next = latest(o.Next, c.limiter.notBefore())
	}
	return o
}

// idle reports whether no request is in flight or waiting. The caller must hold c.mu.
func (c *Client) idle() bool { return c.inFlight+c.ready.Len()+len(c.delayed) == 0 }

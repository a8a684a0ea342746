package sink

import (
	"maps"
	"time"
)

// Status is a snapshot of a [Client]'s state. All counters start at zero when the client is
// created.
type Status struct {
	Halt         Halt
	Outage       Outage
	Requests     map[string]int64 // by status code, or "error" if there was no readable response
	Retries      int64            // attempts that followed a failed attempt for the same body
	Delivered    int64            // events accepted by LaunchDarkly
	Rejected     int64            // events rejected individually by LaunchDarkly
	LastDelivery time.Time        // time of the last accepted request; zero before the first
	RateLimited  bool             // requests are waiting because of Config.MaxEventsPerSecond
}

// Status returns a snapshot of the client's state.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Halt, s.Outage, s.Requests = c.halt, c.currentOutage(), maps.Clone(c.status.Requests)
	s.RateLimited = c.rateLimited()
	return s
}

// rateLimited reports whether requests are waiting because of the maximum rate. The caller must
// hold c.mu.
func (c *Client) rateLimited() bool { return c.ready.Len() > 0 && time.Until(c.limiter.rated) > 0 }

// countRequest counts a request by its response code.
func (c *Client) countRequest(code string) {
	c.metrics.requests.WithLabelValues(code).Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Requests[code]++
}

// countRetry counts an attempt that follows a failed one.
func (c *Client) countRetry() {
	c.metrics.retries.Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Retries++
}

// countDelivery counts the events of an accepted request and records the time.
func (c *Client) countDelivery(events int) {
	c.metrics.delivered.Add(float64(events))
	c.metrics.lastDelivery.SetToCurrentTime()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Delivered += int64(events)
	c.status.LastDelivery = time.Now()
}

// countRejection counts an individually rejected event.
func (c *Client) countRejection() {
	c.metrics.refused.Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Rejected++
}

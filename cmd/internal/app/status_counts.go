package app

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// counts contains the numbers shown on the status page.
type counts struct {
	// The counters below run from program start to At.
	At                                              time.Time
	Records, Delivered, Rejected, Requests, Retries int64
	Calls                                           map[call]int64
	Responses                                       map[string]int64 // by status code, or "error"

	// The fields below describe the current state.
	Buffered, BufferedLimit int64 // bytes
	LastDelivery            time.Time
}

// call is the outcome of a Segment call and the reason for that outcome.
type call struct{ Outcome, Reason string }

// counts returns the current counts.
func (a *App) counts() counts {
	read, sent := a.Status()
	return countsOf(read, sent, a.budget)
}

// countsOf combines the counts of the consumer, the sink, and the budget.
func countsOf(read consumer.Status, sent sink.Status, budget *sink.Budget) counts {
	c := counts{
		At: time.Now(), Records: read.Records, Calls: map[call]int64{},
		Delivered: sent.Delivered, Rejected: sent.Rejected, Retries: sent.Retries, Responses: sent.Requests,
		Buffered: budget.Used(), BufferedLimit: budget.Limit(), LastDelivery: sent.LastDelivery,
	}
	for reason := range transform.Reasons {
		c.Calls[call{reason.Outcome().String(), reason.String()}] = read.Calls[reason]
	}
	for _, n := range sent.Requests {
		c.Requests += n
	}
	return c
}

// rates is the increase in counts over a period.
type rates struct {
	Over time.Duration // length of the period
	counts
}

// ratesSince returns the increase in counts since earlier.
func (c counts) ratesSince(earlier counts) rates {
	r := rates{c.At.Sub(earlier.At), c}
	r.Records -= earlier.Records
	r.Delivered -= earlier.Delivered
	r.Rejected -= earlier.Rejected
	r.Requests -= earlier.Requests
	r.Retries -= earlier.Retries
	r.Calls, r.Responses = minus(c.Calls, earlier.Calls), minus(c.Responses, earlier.Responses)
	return r
}

// minus returns a - b for each key.
func minus[K comparable](a, b map[K]int64) map[K]int64 {
	d := maps.Clone(a)
	for k, n := range b {
		d[k] -= n
	}
	return d
}

// PerSecond formats n, an increase over the period, as a rate per second.
func (r rates) PerSecond(n int64) string {
	perSecond := float64(n) / max(r.Over.Seconds(), 1)
	if perSecond < 100 && n > 0 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return brief(int64(perSecond))
}

// minute contains samples of the counts from the last minute. The zero minute is empty and ready to
// use.
type minute struct {
	mu   sync.Mutex // guards the field below
	past []counts   // one sample every sampleInterval, oldest first
}

const (
	sampleInterval = 10 * time.Second
	sampleCount    = 7 // so that the oldest sample is 60 to 70 s old
)

// sample adds the current counts every sampleInterval until ctx is done.
func (m *minute) sample(ctx context.Context, current func() counts) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		m.add(current())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// add adds a sample and drops the oldest one if there are more than sampleCount.
func (m *minute) add(c counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past = append(m.past, c)
	m.past = m.past[max(len(m.past)-sampleCount, 0):]
}

// ago returns the oldest sample, or fallback if there is none.
func (m *minute) ago(fallback counts) counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.past) == 0 {
		return fallback
	}
	return m.past[0]
}

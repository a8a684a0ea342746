package app

import (
	"maps"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// counts contains the numbers for the status page and the progress log.
type counts struct {
	// The counters below run from program start to At.
	At                                              time.Time
	Records, Delivered, Rejected, Requests, Retries int64
	Calls                                           map[call]int64
	Responses                                       map[string]int64 // by status code, or "error"

	// The fields below describe the current state.
	Lag                     int64 // records, of all assigned partitions
	Buffered, BufferedLimit int64 // bytes
	LastDelivery            time.Time
	RateLimited             bool // requests are waiting because of delivery.max_events_per_second

	// Names is set only in samples for the status page.
	Names []consumer.EventName // since program start, the most frequent first
}

// call is the outcome of a Segment call and the reason for that outcome.
type call struct{ Outcome, Reason string }

// counts returns the current counts.
func (a *App) counts() counts {
	read, sent := a.Status()
	return countsOf(read, sent, a.budget)
}

// sample returns the current counts with the most frequent event names.
func (a *App) sample() counts {
	c := a.counts()
	c.Names = a.consumer.EventNames(shownNames)
	return c
}

// shownNames is the maximum number of event names on the status page.
const shownNames = 20

// countsOf combines the counts of the consumer, the sink, and the budget.
func countsOf(read consumer.Status, sent sink.Status, budget *sink.Budget) counts {
	c := counts{
		At: time.Now(), Records: read.Records, Calls: map[call]int64{},
		Delivered: sent.Delivered, Rejected: sent.Rejected, Retries: sent.Retries, Responses: sent.Requests,
		Buffered: budget.Used(), BufferedLimit: budget.Limit(), LastDelivery: sent.LastDelivery,
		RateLimited: sent.RateLimited,
	}
	for reason := range transform.Reasons {
		c.Calls[call{reason.Outcome().String(), reason.String()}] = read.Calls[reason]
	}
	for _, n := range sent.Requests {
		c.Requests += n
	}
	for _, p := range read.Partitions {
		c.Lag += p.Lag
	}
	return c
}

// rates is the increase in counts over a period. The fields of counts that describe the current
// state are not increases, but the values at the end of the period.
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
func (r rates) PerSecond(n int64) string { return formatRate(float64(n) / max(r.Over.Seconds(), 1)) }

// EventShare formats the share of the calls that became events.
func (c counts) EventShare() string {
	all := int64(0)
	for _, n := range c.Calls {
		all += n
	}
	return percent(c.outcome(transform.Event), all)
}

// outcome returns the number of calls with the given outcome.
func (c counts) outcome(o transform.Outcome) (n int64) {
	for call, calls := range c.Calls {
		if call.Outcome == o.String() {
			n += calls
		}
	}
	return n
}

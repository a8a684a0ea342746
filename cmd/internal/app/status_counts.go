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

// counts are the numbers of the status page since the start.
type counts struct {
	At                                             time.Time
	Records, Delivered, Refused, Requests, Retries int64
	Calls                                          map[call]int64
	Answers                                        map[string]int64 // of LaunchDarkly, by status code, or error

	// The present state.
	Buffered, BufferedLimit int64 // bytes
	LastDelivery            time.Time
}

// call is the outcome of a call.
type call struct{ Outcome, Reason string }

// counts returns the numbers as they are now.
func (a *App) counts() counts {
	read, sent := a.Status()
	return countsOf(read, sent, a.budget)
}

// countsOf returns the numbers in the status of the parts.
func countsOf(read consumer.Status, sent sink.Status, budget *sink.Budget) counts {
	c := counts{
		At: time.Now(), Records: read.Records, Calls: map[call]int64{},
		Delivered: sent.Delivered, Refused: sent.Rejected, Retries: sent.Retries, Answers: sent.Requests,
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

// rates is what was counted over a time.
type rates struct {
	Over time.Duration
	counts
}

// ratesSince returns what was counted since earlier.
func (c counts) ratesSince(earlier counts) rates {
	r := rates{c.At.Sub(earlier.At), c}
	r.Records -= earlier.Records
	r.Delivered -= earlier.Delivered
	r.Refused -= earlier.Refused
	r.Requests -= earlier.Requests
	r.Retries -= earlier.Retries
	r.Calls, r.Answers = less(c.Calls, earlier.Calls), less(c.Answers, earlier.Answers)
	return r
}

// less returns a - b, by key.
func less[K comparable](a, b map[K]int64) map[K]int64 {
	d := maps.Clone(a)
	for k, n := range b {
		d[k] -= n
	}
	return d
}

// PerSecond writes a number as a rate.
func (r rates) PerSecond(n int64) string {
	perSecond := float64(n) / max(r.Over.Seconds(), 1)
	if perSecond < 100 && n > 0 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return brief(int64(perSecond))
}

// minute remembers the counts of the last minute. The zero minute remembers none.
type minute struct {
	mu   sync.Mutex // guards the field below
	past []counts   // one every sampleInterval, oldest first
}

const (
	sampleInterval = 10 * time.Second
	sampleCount    = 7 // the oldest is then 60 to 70 s old
)

// sample adds the present counts every sampleInterval until ctx is done.
func (m *minute) sample(ctx context.Context, present func() counts) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		m.add(present())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *minute) add(c counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past = append(m.past, c)
	m.past = m.past[max(len(m.past)-sampleCount, 0):]
}

// ago returns the oldest counts, or other if there are none.
func (m *minute) ago(other counts) counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.past) == 0 {
		return other
	}
	return m.past[0]
}

package app

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counts is what the program counts of itself, read from its metrics.
type counts struct {
	At                                             time.Time
	Records, Delivered, Refused, Requests, Retries int64
	Calls                                          map[call]int64
	Answers                                        map[string]int64 // of LaunchDarkly, by status code, or error

	// Not counted, but as it is now.
	Buffered, BufferedLimit int64 // bytes
	LastDelivery            time.Time
}

// call is what became of a call.
type call struct{ Outcome, Reason string }

// readCounts reads the program's metrics.
func readCounts(metrics prometheus.Gatherer) (counts, error) {
	c := counts{At: time.Now(), Calls: map[call]int64{}, Answers: map[string]int64{}}
	families, err := metrics.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n := int64(m.GetCounter().GetValue() + m.GetGauge().GetValue()) // it is one of them
			switch strings.TrimPrefix(f.GetName(), "segment_launchdarkly_") {
			case "consumer_records_total":
				c.Records = n
			case "consumer_calls_total":
				c.Calls[call{label(m, "outcome"), label(m, "reason")}] = n
			case "sink_events_delivered_total":
				c.Delivered = n
			case "sink_events_refused_total":
				c.Refused = n
			case "sink_requests_total":
				c.Requests += n
				c.Answers[label(m, "code")] = n
			case "sink_retries_total":
				c.Retries = n
			case "sink_buffered_bytes":
				c.Buffered = n
			case "sink_buffered_limit_bytes":
				c.BufferedLimit = n
			case "sink_last_delivery_timestamp_seconds":
				if n > 0 {
					c.LastDelivery = time.Unix(n, 0)
				}
			}
		}
	}
	return c, err
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
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

// minute remembers what the counters were a minute ago. The zero minute remembers
// nothing.
type minute struct {
	mu   sync.Mutex
	past []counts // guards: one every sampleInterval, oldest first
}

const (
	sampleInterval = 10 * time.Second
	sampleCount    = 7 // the oldest is then 60 to 70 s old
)

// sample looks at the counters every sampleInterval until ctx is done.
func (m *minute) sample(ctx context.Context, metrics prometheus.Gatherer) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		if c, err := readCounts(metrics); err == nil {
			m.add(c)
		}
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

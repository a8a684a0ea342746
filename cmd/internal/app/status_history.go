package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// history contains samples of the counts from the last 15 minutes. The zero history is empty and
// ready to use.
type history struct {
	mu   sync.Mutex // guards the field below
	past []counts   // one sample every sampleInterval, oldest first
}

const (
	sampleInterval = 10 * time.Second
	minuteSamples  = 7  // so that the oldest of them is 60 to 70 s old
	sampleCount    = 91 // so that the oldest is at least 15 minutes old
)

// sample adds the current counts every sampleInterval until ctx is done.
func (h *history) sample(ctx context.Context, current func() counts) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		h.add(current())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// add adds a sample and drops the oldest one if there are more than sampleCount.
func (h *history) add(c counts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = append(h.past, c)
	h.past = slices.Clone(h.past[max(len(h.past)-sampleCount, 0):])
}

// minuteAgo returns the sample from a minute ago, or the first sample if that is more recent. If
// there are no samples, it returns fallback.
func (h *history) minuteAgo(fallback counts) counts {
	past := h.all()
	if len(past) == 0 {
		return fallback
	}
	return past[max(len(past)-minuteSamples, 0)]
}

// all returns all samples, oldest first.
func (h *history) all() []counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.past
}

// chart is a line chart of the last 15 minutes.
type chart struct {
	Title     string
	Last, Max string
	Points    string // SVG coordinates, within chartWidth and chartHeight
}

const (
	chartWidth  = 300
	chartHeight = 60
)

// charts returns the charts of the records read, the events delivered, and the lag. If there are
// fewer than two samples, it returns nil.
func charts(samples []counts) []chart {
	if len(samples) < 2 {
		return nil
	}
	rate := func(count func(counts) int64) func(i int) float64 {
		return func(i int) float64 {
			a, b := samples[i-1], samples[i]
			return float64(count(b)-count(a)) / b.At.Sub(a.At).Seconds()
		}
	}
	perSecond := func(v float64) string { return formatRate(v) + "/s" }
	return []chart{
		newChart("Records read", samples, rate(func(c counts) int64 { return c.Records }), perSecond),
		newChart("Events delivered", samples, rate(func(c counts) int64 { return c.Delivered }), perSecond),
		newChart("Lag", samples, func(i int) float64 { return float64(samples[i].Lag) },
			func(v float64) string { return brief(int64(v)) + " records" }),
	}
}

// newChart returns the chart of a value. The function value returns the charted value for sample i.
// It is not called for the first sample.
func newChart(title string, samples []counts, value func(i int) float64, format func(float64) string) chart {
	last := len(samples) - 1
	peak := 0.0
	for i := range last {
		peak = max(peak, value(i+1))
	}
	points := make([]string, 0, last)
	for i := 1; i <= last; i++ {
		x := chartWidth * (1 - samples[last].At.Sub(samples[i].At).Seconds()/(15*time.Minute).Seconds())
		y := chartHeight * (1 - value(i)/max(peak, 1e-9))
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
	}
	return chart{title, format(value(last)), format(peak), strings.Join(points, " ")}
}

// nameRow is a row in the table of event names.
type nameRow struct {
	consumer.EventName
	PerSecond string // over the last minute; empty if unknown
}

// WithValueShare formats the share of the events that have a metric value.
func (n nameRow) WithValueShare() string { return percent(n.WithValue, n.Events) }

// nameRows returns the rows for the current names. earlier holds the counts at the start of r's
// period.
func nameRows(names, earlier []consumer.EventName, r rates) (rows []nameRow) {
	before := map[string]int64{}
	for _, n := range earlier {
		before[n.Name] = n.Events
	}
	for _, n := range names {
		row := nameRow{EventName: n}
		if events, ok := before[n.Name]; ok {
			row.PerSecond = r.PerSecond(n.Events - events)
		}
		rows = append(rows, row)
	}
	return rows
}

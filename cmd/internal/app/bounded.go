package app

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Options configures a run that ends on its own. The zero Options configures a run that does not.
type Options struct {
	// Until is the end of the run; see [consumer.Config.Until].
	Until time.Time
	// Reasons selects dead letters in a redrive; see [consumer.Config.RedriveReasons].
	Reasons []string
	// Progress, if set, is called every second. Otherwise, the progress is logged every ten
	// seconds.
	Progress func(Progress)
}

// Progress describes how far a run with Options.Until has come, in the partitions of this replica.
type Progress struct {
	Partitions  int           // partitions of this replica
	Records     int64         // records mapped since the start
	Delivered   int64         // events delivered since the start
	Passed      int64         // offsets delivered since the start
	Remaining   int64         // offsets not yet delivered
	PerSecond   float64       // offsets delivered per second, over the last ten seconds
	ETA         time.Duration // time until the end at this rate; negative if unknown
	RateLimited bool          // requests are waiting because of delivery.max_events_per_second
}

// Summary is the result of a run with Options.Until.
type Summary struct {
	Complete  bool             `json:"complete"` // everything before the end is delivered and committed
	Seconds   float64          `json:"seconds"`
	Records   int64            `json:"records"`
	Lost      int64            `json:"records_lost"` // deleted by retention before they were read
	Events    int64            `json:"events"`
	Filtered  map[string]int64 `json:"filtered"` // calls by reason
	Rejected  map[string]int64 `json:"rejected"` // calls by reason
	Delivered int64            `json:"events_delivered"`
	Refused   int64            `json:"events_rejected_by_launchdarkly"`
}

// Summary returns the result of a run for which Run returned err.
func (a *App) Summary(err error) Summary {
	read, sent := a.Status()
	s := Summary{
		Complete: err == nil, Seconds: float64(time.Since(a.started).Milliseconds()) / 1000,
		Records: read.Records, Lost: read.Lost, Events: read.Calls[transform.None],
		Filtered: map[string]int64{}, Rejected: map[string]int64{},
		Delivered: sent.Delivered, Refused: sent.Rejected,
	}
	for reason, n := range read.Calls {
		switch reason := transform.Reason(reason); {
		case n == 0:
		case reason.Outcome() == transform.Filtered:
			s.Filtered[reason.String()] = n
		case reason.Outcome() == transform.Rejected:
			s.Rejected[reason.String()] = n
		}
	}
	return s
}

// logInterval is the number of seconds between log entries on the progress.
const logInterval = 10

// reportProgress reports the progress of a run with Options.Until until ctx is done.
func (a *App) reportProgress(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var m meter
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		read, sent := a.Status()
		p := m.measure(read, sent)
		a.progress.Store(&p)
		switch {
		case a.options.Progress != nil:
			a.options.Progress(p)
		case n%logInterval == 0:
			a.log.Info("progress", p.fields()...)
		}
	}
}

func (p Progress) fields() []zap.Field {
	fields := []zap.Field{
		zap.Int("partitions", p.Partitions), zap.Int64("records", p.Records), zap.Int64("delivered", p.Delivered),
		zap.Int64("remaining", p.Remaining), zap.Float64("records_per_second", math.Round(p.PerSecond)),
	}
	if p.ETA >= 0 {
		fields = append(fields, zap.Duration("eta", p.ETA))
	}
	return append(fields, limited(p.RateLimited))
}

// Bar formats the progress as a bar of at most width columns.
func (p Progress) Bar(width int) string {
	if p.Partitions == 0 && p.Records == 0 {
		const text = "waiting for partitions"
		return text[:max(0, min(len(text), width))]
	}
	share := 1.0
	if all := p.Passed + p.Remaining; all > 0 {
		share = float64(p.Passed) / float64(all)
	}
	text := fmt.Sprintf(" %3.0f%% %s records, %s events, %s left, %s/s", math.Floor(100*share),
		brief(p.Records), brief(p.Delivered), brief(p.Remaining), formatRate(p.PerSecond))
	if p.RateLimited {
		text += " limited"
	}
	if p.ETA > 0 {
		text += ", " + short(p.ETA)
	}
	cells := max(0, min(30, width-len(text)-len("[]")))
	full := int(share * float64(cells))
	text = "[" + strings.Repeat("#", full) + strings.Repeat("-", cells-full) + "]" + text
	return text[:max(0, min(len(text), width))]
}

// meter measures the progress of a run from one measurement to the next. The zero meter is ready to
// use.
type meter struct {
	watermarks map[partitionName]int64 // at the last measurement
	passed     int64
	recent     []measurement // of the last ten seconds
}

type partitionName struct {
	topic  string
	number int32
}

type measurement struct {
	at     time.Time
	passed int64
}

// measure returns the progress now. Partitions that came and went since the last measurement do not
// change the rate.
func (m *meter) measure(read consumer.Status, sent sink.Status) Progress {
	p := Progress{
		Partitions: len(read.Partitions), Records: read.Records,
		Delivered: sent.Delivered, RateLimited: sent.RateLimited,
	}
	watermarks := make(map[partitionName]int64, len(read.Partitions))
	for _, s := range read.Partitions {
		name := partitionName{s.Topic, s.Partition}
		watermarks[name] = s.Watermark
		if last, ok := m.watermarks[name]; ok {
			m.passed += max(0, s.Watermark-last)
		}
		p.Remaining += max(0, s.Until-s.Watermark)
	}
	m.watermarks = watermarks
	now := time.Now()
	m.recent = append(m.recent, measurement{now, m.passed})
	for now.Sub(m.recent[0].at) > logInterval*time.Second {
		m.recent = m.recent[1:]
	}
	over := now.Sub(m.recent[0].at).Seconds()
	p.Passed, p.PerSecond = m.passed, float64(m.passed-m.recent[0].passed)/max(over, 1)
	switch {
	case p.Remaining == 0 && p.Partitions > 0:
	case p.PerSecond < 0.01:
		p.ETA = -1
	default:
		p.ETA = time.Duration(float64(p.Remaining) / p.PerSecond * float64(time.Second)).Round(time.Second)
	}
	return p
}

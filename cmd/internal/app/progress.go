package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// progress logs the first delivery. At intervals, it also logs the lag, and the numbers of records
// read and events delivered since the previous such entry.
type progress struct {
	log     *zap.Logger
	current func() counts
}

const (
	progressInterval = time.Minute     // between log entries
	idleInterval     = 5 * time.Minute // between log entries while nothing changes
)

// limited returns the log field for requests that wait because of delivery.max_events_per_second.
func limited(yes bool) zap.Field {
	if !yes {
		return zap.Skip()
	}
	return zap.Bool("limited_by_configuration", true)
}

// run logs until ctx is done.
func (p progress) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := p.current()
	started, delivered := last.At, false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		c := p.current()
		if !delivered && c.Delivered > 0 {
			delivered = true
			p.log.Info("first events delivered", zap.Int64("events", c.Delivered),
				zap.Duration("since_start", c.At.Sub(started).Round(time.Millisecond)))
		}
		r := c.ratesSince(last)
		idle := r.Records == 0 && r.Delivered == 0 && c.Lag == last.Lag
		if r.Over < progressInterval || idle && r.Over < idleInterval {
			continue
		}
		last = c
		p.log.Info("progress", zap.Duration("interval", r.Over.Round(time.Second)),
			zap.Int64("records", r.Records), zap.Int64("events", r.outcome(transform.Event)),
			zap.Int64("filtered", r.outcome(transform.Filtered)), zap.Int64("rejected", r.outcome(transform.Rejected)),
			zap.Int64("delivered", r.Delivered), zap.Int64("lag", c.Lag), limited(c.RateLimited))
	}
}

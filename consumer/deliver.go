package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// deliverer passes recorded batches to the sink. The sink either delivers a batch or leaves it for
// the next owner. Events rejected by LaunchDarkly become dead letters.
type deliverer struct {
	sink    *sink.Client
	letters *deadLetters
	delay   prometheus.Histogram
	counts  *delivered  // nil if events are not counted by name
	fail    func(error) // ends Run with the error
}

// send starts delivering a batch whose cut is stored. It does not block.
func (d *deliverer) send(p *partition, b *batch) {
	body := b.body
	d.sink.Deliver(p.ctx, sink.Delivery{
		Batch: body, Until: p.sendCtx,
		Rejected: func(ctx context.Context, r sink.Rejection) error {
			d.counts.reject(b, r.Body)
			return d.letters.writeRejected(ctx, r)
		},
		Done: func(err error) {
			switch {
			case err == nil:
				d.delay.Observe(time.Since(body.Oldest).Seconds())
				d.counts.add(b)
			case p.sendCtx.Err() == nil: // failed although the partition is not being released
				d.fail(fmt.Errorf("deliver offsets %d to %d of %s: %w",
					body.First, body.Next-1, p.topicPartition, err))
			}
			p.window.endSend(b, err == nil)
		},
	})
}

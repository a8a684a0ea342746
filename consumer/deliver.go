package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// deliverer hands recorded batches to the sink and takes them back: delivered, or left to the next
// owner. An event that LaunchDarkly rejects becomes a dead letter.
type deliverer struct {
	sink    *sink.Client
	letters *deadLetters
	delay   prometheus.Histogram
	fail    func(error) // ends Run
}

// send delivers a batch whose cut is stored, and returns at once.
func (d *deliverer) send(p *partition, b *batch) {
	body := b.body
	d.sink.Deliver(p.ctx, sink.Delivery{
		Batch: body, Until: p.sendCtx,
		Rejected: func(ctx context.Context, r sink.Rejection) error { return d.letters.writeRefused(ctx, r) },
		Done: func(err error) {
			switch {
			case err == nil:
				d.delay.Observe(time.Since(body.Oldest).Seconds())
			case p.sendCtx.Err() == nil: // nothing but the partition's release may end a delivery
				d.fail(fmt.Errorf("deliver offsets %d to %d of %s: %w", body.First, body.Next-1, p.topicPartition, err))
			}
			p.window.endSend(b, err == nil)
		},
	})
}

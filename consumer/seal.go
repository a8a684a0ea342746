package consumer

import (
	"time"

	"go.uber.org/zap"
)

// Why a batch was sealed, as a metric label.
const (
	causeFull     = "full"     // the next record would exceed batch.max_events or batch.max_bytes
	causeAge      = "age"      // batch.max_age
	causePressure = "pressure" // delivery.max_buffered is used up
	causeCut      = "cut"      // an earlier owner cut there
	causeDrain    = "drain"    // the partition is given up
)

// begin opens a range at the floor, if none is open.
func (p *partition) begin() {
	if p.open != nil {
		return
	}
	p.publish()
	p.open = &entry{first: p.floor, epoch: p.floorEpoch, opened: time.Now()}
	p.age.Reset(p.c.cfg.MaxAge)
}

// publish raises the floor over what needs no delivery. It stays where it is while
// a range is open, and between two recorded cuts, because the range between them
// is to be the same as the earlier owner's.
func (p *partition) publish() {
	if p.open != nil || len(p.cuts) > 0 || p.floor == p.next {
		return
	}
	p.floor, p.floorEpoch = p.next, p.epoch
	p.c.raise(p)
}

// cut seals at a recorded cut, which is p.next, also if there is nothing to seal.
func (p *partition) cut() {
	p.cuts = p.cuts[1:]
	if p.open != nil {
		p.seal(causeCut)
		return
	}
	p.floor, p.floorEpoch = p.next, p.epoch
	p.c.raise(p)
}

// rewind follows the log down to offset: it was cut off behind what was taken, and
// other records have come in its place.
func (p *partition) rewind(offset int64) {
	p.c.metrics.truncations.Inc()
	p.log.Error("the log was truncated: records that were read are gone from it, others came in their place",
		zap.Int64("offset", offset), zap.Int64("next_offset", p.next))
	p.cuts = nil
	if p.open != nil {
		p.seal(causeCut)
	}
	p.next = offset
	p.floor, p.epoch, p.floorEpoch = offset, -1, -1
	p.c.raise(p)
}

// ripe seals a range that has been open for batch.max_age. A range up to a recorded
// cut waits for it, unless the log ends before: the cut's records are gone.
func (p *partition) ripe() {
	switch {
	case p.open == nil:
	case len(p.cuts) > 0 && !p.c.ends(p):
		p.age.Reset(p.c.cfg.MaxAge)
	default:
		p.cuts = nil
		p.seal(causeAge)
	}
}

// account tells the budget what the buffer has come to hold.
func (p *partition) account() {
	if held := p.buffer.Len(); held != p.held {
		p.c.budget.Add(held - p.held)
		p.held = held
	}
}

// seal closes the open range at p.next for ever. It waits for room in the window,
// except while the partition is being given up.
func (p *partition) seal(cause string) {
	e := p.open
	p.open = nil
	p.age.Stop()
	e.next = p.next
	e.batch = p.buffer.Seal(p.source, p.openEpoch, e.first, e.next, p.c.cfg.Gzip)
	if e.batch != nil {
		e.bytes = e.batch.Bytes()
		p.c.metrics.batches.WithLabelValues(cause).Inc()
		p.c.metrics.batchEvents.Observe(float64(e.batch.Events))
	}
	p.c.budget.Add(e.bytes)
	p.account()
	p.floor, p.floorEpoch = p.next, p.epoch
	p.await()
	p.c.push(p, e)
}

// await waits until the window has room or the partition is given up.
func (p *partition) await() {
	if p.c.hasRoom(p) {
		return
	}
	p.inbox.setStuck(time.Now())
	defer p.inbox.setStuck(time.Time{})
	for !p.c.hasRoom(p) {
		select {
		case <-p.space:
		case <-p.stop:
			return
		case <-p.ctx.Done():
			return
		}
	}
}

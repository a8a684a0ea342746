package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// partition is one assigned partition. Its goroutine, run, takes records, renders
// events into the buffer and seals batches; posting and committing go on beside it.
type partition struct {
	c      *Consumer
	topic  string
	number int32
	member string // of the group, to which it was assigned
	source sink.Source
	log    *zap.Logger
	inbox  inbox

	ctx      context.Context // done when the partition is given up; cancels requests under way
	cancel   context.CancelFunc
	attempts context.Context // a child of ctx; done: no request starts any more, those under way go on
	cease    context.CancelFunc
	stop     chan struct{} // closed: take no more records, seal, return
	stopOnce sync.Once     //
	stopped  chan struct{} // closed when run has returned
	space    chan struct{} // capacity 1: the window may have room

	// Owned by run.
	transformer *transform.Transformer
	calls       []transform.Call
	taken       int                    // records that the metrics do not know of
	tally       [transform.Reasons]int // calls that the metrics do not know of
	buffer      *sink.Buffer
	open        *entry      // the range that the buffer belongs to; nil while it is empty
	held        int         // bytes of the buffer that the budget knows of
	next        int64       // first offset not taken
	epoch       int32       // leader epoch of the record before next
	floor       int64       // as window.floor
	floorEpoch  int32       // as window.epoch
	openEpoch   int32       // leader epoch of the first record in the buffer
	cuts        []int64     // to cut at, as an earlier owner did
	age         *time.Timer // runs while a range is open

	// Guarded by Consumer.mu.
	window     window
	anchored   bool          // the group has an offset of it
	committed  snapshot      // last successful commit
	fenced     bool          // given up: nothing is marked, committed or newly posted
	end        int64         // last stable offset, for the lag; -1 if unknown
	leaderEnd  int64         // the same, as the leader said
	asked      time.Time     // when it was asked
	letters    int           // bytes of dead letters that are not written
	deliveries int           // under way
	changed    chan struct{} // closed and replaced when letters, deliveries or window have become less
	lastCommit time.Time     //
}

// run is the partition's goroutine.
func (p *partition) run() {
	defer close(p.stopped)
	for {
		var pressure <-chan struct{}
		if p.open != nil && len(p.cuts) == 0 {
			pressure = p.c.budget.Full()
		}
		select {
		case <-p.ctx.Done():
			return
		case <-p.stop:
			if p.publish(); p.open != nil && len(p.cuts) == 0 { // a piece of a recorded range is the next owner's
				p.seal(causeDrain)
			}
			return
		case <-p.inbox.ready:
			for !p.halting() {
				c, ok := p.inbox.take()
				if !ok {
					break
				}
				p.consume(c)
			}
		case <-p.age.C:
			p.ripe()
		case <-pressure:
			p.seal(causePressure)
		}
	}
}

// halting says whether run is to return. It is asked for each record: a select over
// both channels would lock them.
func (p *partition) halting() bool {
	select {
	case <-p.stop:
		return true
	default:
		return p.ctx.Err() != nil
	}
}

// consume takes the records of a chunk.
func (p *partition) consume(c chunk) {
	defer p.tell()
	if c.logStart > p.next {
		p.c.metrics.lost.Add(float64(c.logStart - p.next))
		p.log.Error("retention deleted records before they were read: they are lost; keep records longer or add replicas",
			zap.Int64("offset", p.next), zap.Int64("next_offset", c.logStart))
	}
	for i, r := range c.records {
		if p.halting() {
			return
		}
		p.take(r)
		r.Recycle()
		c.records[i] = nil
	}
	p.account()
	p.publish()
}

// take maps one record.
func (p *partition) take(r *kgo.Record) {
	if r.Offset < p.next {
		if r.LeaderEpoch <= p.epoch { // what comes in the place of lost records is of a newer leader
			return
		}
		p.rewind(r.Offset)
	}
	for len(p.cuts) > 0 && r.Offset >= p.cuts[0] { // the log has a gap there
		p.next = p.cuts[0]
		p.cut()
	}
	if r.Attrs.IsControl() { // the end of a transaction: part of the range, nothing to map
		p.passed(r)
		return
	}
	p.taken++
	only := redriven(r)
	before := p.buffer.Bytes()
	var body []byte
	body, p.calls = p.transformer.AppendOnly(before, p.calls[:0], r.Value, r.Timestamp.UnixMilli(), only)
	events, rejected := p.count()
	if events > 0 && p.buffer.Events() > 0 && len(p.cuts) == 0 && !p.buffer.Fits(len(body), events) {
		tail := append([]byte(nil), body[len(before):]...)
		p.seal(causeFull)
		body = append(p.buffer.Bytes(), tail...)
	}
	if events > 0 || rejected > 0 {
		p.begin()
		if p.buffer.Events() == 0 {
			p.openEpoch = r.LeaderEpoch
		}
	}
	p.buffer.Extend(body, events, r.Offset, r.Timestamp)
	if rejected > 0 {
		p.reject(r, only)
	}
	p.passed(r)
	if p.buffer.Full() && len(p.cuts) == 0 {
		p.seal(causeFull)
	}
}

// tell adds what was counted to the metrics, which would cost too much for each record.
func (p *partition) tell() {
	p.c.metrics.records.Add(float64(p.taken))
	p.taken = 0
	for reason, n := range p.tally {
		if n > 0 {
			p.c.metrics.calls[reason].Add(float64(n))
		}
	}
	p.tally = [transform.Reasons]int{}
}

// count counts the calls of a record by outcome.
func (p *partition) count() (events, rejected int) {
	for i := range p.calls {
		reason := p.calls[i].Reason
		p.tally[reason]++
		switch reason.Outcome() {
		case transform.Event:
			events++
		case transform.Rejected:
			rejected++
		}
	}
	return events, rejected
}

// passed moves on behind a record, and cuts there if an earlier owner did.
func (p *partition) passed(r *kgo.Record) {
	p.next, p.epoch = r.Offset+1, r.LeaderEpoch
	if len(p.cuts) > 0 && p.next == p.cuts[0] {
		p.cut()
	}
}

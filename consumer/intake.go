package consumer

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Why a batch was sealed, as a metric label.
const (
	sealFull     = "full"     // the next record would exceed batch.max_events or batch.max_bytes
	sealAge      = "age"      // batch.max_age
	sealPressure = "pressure" // delivery.max_buffered is used up
	sealCut      = "cut"      // an earlier owner recorded a cut here
	sealDrain    = "drain"    // the partition is drained
)

// intake maps the records of one partition, renders their events into the buffer, and seals batches
// into the window. Everything in it belongs to the partition's goroutine, run.
type intake struct {
	*partition
	cfg      *Config
	source   sink.Source
	memory   *memory
	metrics  *metrics
	letters  *deadLetters
	distrust func(cause string, err error) // ends the session

	transformer *transform.Transformer
	calls       []transform.Call
	counts      callCounts
	buffer      *sink.Buffer
	held        int         // bytes of the buffer that the memory budget knows of
	open        *batch      // the range that the buffer belongs to; nil while the buffer is empty
	openEpoch   int32       // leader epoch of the first record with events in the buffer
	age         *time.Timer // runs while a range is open
	next        position    // first record not mapped
	floor       position    // where the next range begins; what lies below is in the window or finished
	cuts        []int64     // recorded by an earlier owner, beyond next: seal exactly there
}

// run maps records until the partition is stopped or released.
func (in *intake) run() {
	defer close(in.stopped)
	for {
		var pressure <-chan struct{}
		if in.open != nil && len(in.cuts) == 0 {
			pressure = in.memory.budget.Full()
		}
		select {
		case <-in.ctx.Done():
			return
		case <-in.stop:
			in.publishFloor()
			if in.open != nil && len(in.cuts) == 0 { // part of a recorded range is left to the next owner
				in.seal(sealDrain)
			}
			return
		case <-in.queue.ready:
			for !in.stopping() {
				c, ok := in.queue.pop()
				if !ok {
					break
				}
				in.mapChunk(c)
			}
		case <-in.age.C:
			in.onAge()
		case <-pressure:
			in.seal(sealPressure)
		}
	}
}

// mapChunk maps the records of one poll.
func (in *intake) mapChunk(c chunk) {
	defer in.counts.flush(in.metrics)
	if c.logStart > in.next.offset {
		in.metrics.lost.Add(float64(c.logStart - in.next.offset))
		in.log.Error("retention deleted records before they were read",
			zap.Int64("offset", in.next.offset), zap.Int64("next_offset", c.logStart))
	}
	for i, r := range c.records {
		if in.stopping() {
			return
		}
		if r.Offset < in.next.offset {
			// Whether the log was truncated or the client reads it twice, only a new start can tell.
			in.distrust(endPosition, fmt.Errorf("%s: read offset %d again, after %d", in.topicPartition, r.Offset, in.next.offset-1))
			return
		}
		in.mapRecord(r)
		r.Recycle()
		c.records[i] = nil
	}
	in.updateBudget()
	in.publishFloor()
}

// mapRecord maps one record at or beyond next.
func (in *intake) mapRecord(r *kgo.Record) {
	for len(in.cuts) > 0 && r.Offset >= in.cuts[0] { // the log has a gap in front of the cut
		in.next.offset = in.cuts[0]
		in.cut()
	}
	if r.Attrs.IsControl() { // the end of a transaction: part of the range, nothing to map
		in.advancePast(r)
		return
	}
	body, only := in.render(r)
	events, rejected := in.counts.add(in.calls)
	switch {
	case events == 0:
	case len(in.cuts) > 0:
		in.buffer.Extend(body, events, r.Offset, r.Timestamp)
	default:
		if full := in.buffer.Append(body, events, r.Offset, r.Timestamp, in.sealBody); full != nil {
			in.push(full, sealFull)
		}
	}
	if events > 0 && in.buffer.Events() == events {
		in.openEpoch = r.LeaderEpoch
	}
	if events > 0 || rejected > 0 {
		in.openRange()
	}
	if rejected > 0 {
		in.reject(r, only)
	}
	in.advancePast(r)
	if in.buffer.Full() && len(in.cuts) == 0 && in.open != nil {
		in.seal(sealFull)
	}
}

// render appends the record's events to what the buffer holds and returns the result, and the index
// of the only call that was mapped, or allCalls.
func (in *intake) render(r *kgo.Record) (body []byte, only int) {
	body, in.calls = in.buffer.Bytes(), in.calls[:0]
	only = allCalls
	if in.cfg.Redrive {
		if isEvent(r) {
			in.calls = append(in.calls, transform.Call{})
			return append(append(body, r.Value...), ','), 0
		}
		only = redrivenCall(r)
	}
	body, in.calls = in.transformer.AppendOnly(body, in.calls, r.Value, r.Timestamp.UnixMilli(), only)
	return body, only
}

// advancePast moves next behind a record, and seals there if an earlier owner did.
func (in *intake) advancePast(r *kgo.Record) {
	in.next = position{r.Offset + 1, r.LeaderEpoch}
	if len(in.cuts) > 0 && in.next.offset == in.cuts[0] {
		in.cut()
	}
}

// openRange opens a range at the floor, if none is open.
func (in *intake) openRange() {
	if in.open != nil {
		return
	}
	in.publishFloor()
	in.open = &batch{first: in.floor, opened: time.Now()}
	in.age.Reset(in.cfg.MaxAge)
}

// publishFloor raises the floor over records that need no delivery. The floor stays while a range is
// open, and between two recorded cuts, because the range between them must be the earlier owner's.
func (in *intake) publishFloor() {
	if in.open != nil || len(in.cuts) > 0 || in.floor == in.next {
		return
	}
	in.floor = in.next
	in.window.raise(in.floor, in.cuts)
}

// cut seals at a recorded cut, which is next, even if there is nothing to seal.
func (in *intake) cut() {
	in.cuts = in.cuts[1:]
	if in.open != nil {
		in.seal(sealCut)
		return
	}
	in.floor = in.next
	in.window.raise(in.floor, in.cuts)
}

// onAge seals a range that has been open for batch.max_age. A range up to a recorded cut waits for
// the cut, unless the log ends before it: then the cut's records are gone.
func (in *intake) onAge() {
	switch {
	case in.open == nil:
	case len(in.cuts) > 0 && !in.end.reached(in.next.offset, in.open.opened):
		in.age.Reset(in.cfg.MaxAge)
	default:
		in.cuts = nil
		in.seal(sealAge)
	}
}

// seal closes the open range at next and pushes it into the window.
func (in *intake) seal(cause string) { in.push(in.sealBody(), cause) }

// sealBody seals the buffer as the body of the open range, which ends at next. It returns nil if the
// range holds no events.
func (in *intake) sealBody() *sink.Batch {
	return in.buffer.Seal(in.source, in.openEpoch, in.open.first.offset, in.next.offset, in.cfg.Gzip)
}

// push closes the open range, whose body is sealed, and pushes it into the window. It waits for room,
// except while the partition is drained.
func (in *intake) push(body *sink.Batch, cause string) {
	b := in.open
	in.open = nil
	in.age.Stop()
	b.seal(in.next.offset, body)
	if body != nil {
		in.metrics.batches.WithLabelValues(cause).Inc()
		in.metrics.batchEvents.Observe(float64(body.Events))
	}
	in.floor = in.next
	in.updateBudget()
	in.waitForRoom()
	in.window.push(b, in.floor, in.cuts)
}

// updateBudget adds to the memory budget what the buffer has come to hold.
func (in *intake) updateBudget() {
	held := in.buffer.Len()
	in.memory.addOpen(held - in.held)
	in.held = held
}

// reject writes the rejected calls of a record as dead letters, one each. The open range is not
// finished before the broker has acknowledged them. only is the index of the only call that was
// mapped, or allCalls.
func (in *intake) reject(r *kgo.Record, only int) {
	for i, call := range in.calls {
		if call.Reason.Outcome() != transform.Rejected {
			continue
		}
		if only != allCalls {
			i = only
		}
		in.letters.logRejected(r, i, call)
		if in.cfg.DeadLetterTopic == "" {
			continue
		}
		letter := in.letters.compose(r, i, rejection{reason: call.Reason.String(), detail: call.Detail, event: in.cfg.Redrive && isEvent(r)})
		b, size := in.open, letterBytes(letter)
		in.waitForRoom()
		in.window.addLetter(b, size)
		in.letters.write(in.ctx, letter, func(err error) { in.window.endLetter(b, size, err == nil) })
	}
}

// callCounts counts mapped records and calls until they are added to the metrics, which would cost
// too much for each record.
type callCounts struct {
	records int
	reasons [transform.Reasons]int
}

// add counts one record with its calls, and returns how many of them are events and rejected.
func (c *callCounts) add(calls []transform.Call) (events, rejected int) {
	c.records++
	for i := range calls {
		reason := calls[i].Reason
		c.reasons[reason]++
		switch reason.Outcome() {
		case transform.Event:
			events++
		case transform.Rejected:
			rejected++
		}
	}
	return events, rejected
}

// flush adds the counts to the metrics.
func (c *callCounts) flush(m *metrics) {
	m.records.Add(int64(c.records))
	for reason, n := range c.reasons {
		if n > 0 {
			m.calls[reason].Add(int64(n))
		}
	}
	*c = callCounts{}
}

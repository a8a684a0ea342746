package consumer

import (
	"bytes"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// These metric label values give the reason for sealing a batch.
const (
	sealFull     = "full"     // batch.max_events or batch.max_bytes is reached, or the next record would exceed it
	sealAge      = "age"      // the batch reached batch.max_age
	sealPressure = "pressure" // delivery.max_buffered is used up
	sealCut      = "cut"      // an earlier owner recorded a cut at this offset
	sealDrain    = "drain"    // the partition is being drained
	sealEnd      = "end"      // the partition's end in a run with Config.Until is reached
)

// intake maps a partition's records, buffers their events, and pushes sealed batches into the
// window. All intake state belongs to the goroutine that executes run.
type intake struct {
	*partition
	cfg        *Config
	source     sink.Source
	memory     *memory
	metrics    *metrics
	letters    *deadLetters
	rejects    *rejects
	formats    *formats
	names      *eventNames // nil if events are not counted by name
	endSession func(cause string, err error)

	transformer *transform.Transformer
	inputs      *inputs
	calls       []transform.Call
	counts      callCounts
	nameCounts  nameCounts   // of the current chunk and the open batch
	counted     []*nameCount // the counts of the current record's events
	needSamples bool         // whether to sample calls filtered as not_a_call
	buffer      *sink.Buffer
	held        int         // buffered bytes counted in the memory budget
	open        *batch      // batch with the range of the buffered events; nil if no range is open
	openEpoch   int32       // leader epoch of the first buffered record with events
	age         *time.Timer // runs while a range is open
	next        position    // position of the first unmapped record
	floor       position    // start of the open or next range; earlier records are in the window's batches or finished
	cuts        []int64     // cuts recorded by an earlier owner and not yet reached; batches must end exactly there
	stalled     int64       // offset of next when the last bounds were too short; -1 if they were not
}

// run maps records until the partition is stopped or released.
func (in *intake) run() {
	defer close(in.stopped)
	if in.next.offset >= in.until {
		in.finish(in.next.offset)
	}
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
			// Seal the open range unless it must end at a recorded cut. A partial recorded range is
			// left for the next owner.
			if in.open != nil && len(in.cuts) == 0 {
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
		case log := <-in.bounds:
			switch at, short := log.endOf(in.next.offset, in.until); {
			case !short || in.ended.Load():
				in.stalled = -1
			case in.stalled == in.next.offset:
				in.reportLost(in.metrics, in.next.offset, in.until)
				in.finish(at)
			default:
				in.stalled = in.next.offset
			}
		case <-pressure:
			in.seal(sealPressure)
		}
	}
}

// mapChunk maps a chunk's records before in.until. It ends the session if an offset is below
// in.next.
func (in *intake) mapChunk(c chunk) {
	defer func() {
		in.needSamples = in.formats.add(in.topic, &in.counts)
		in.counts.flush(in.metrics)
		if in.names != nil {
			in.names.add(in.nameCounts)
		}
	}()
	if c.logStart > in.next.offset {
		in.reportLost(in.metrics, in.next.offset, min(c.logStart, in.until))
	}
	for i, r := range c.records {
		if in.stopping() {
			return
		}
		if r.Offset < in.next.offset {
			// Either the log was truncated, or the client returned a record twice. Only a new
			// session can tell which.
			in.endSession(endPosition, fmt.Errorf("read %s: offset %d returned after offset %d",
				in.topicPartition, r.Offset, in.next.offset-1))
			return
		}
		last := r.Offset+1 >= in.until
		if r.Offset < in.until {
			in.mapRecord(r)
			r.Recycle()
			c.records[i] = nil
		}
		if last {
			in.finish(in.until)
			break
		}
	}
	in.updateBudget()
	in.publishFloor()
}

// mapRecord maps one record at or beyond in.next.
func (in *intake) mapRecord(r *kgo.Record) {
	for len(in.cuts) > 0 && r.Offset >= in.cuts[0] { // the log has a gap at the cut
		in.next.offset = in.cuts[0]
		in.sealAtCut()
	}
	if r.Attrs.IsControl() { // transaction markers belong to the range but contain no calls
		in.advancePast(r)
		return
	}
	body := in.buffer.Bytes()
	before := len(body)
	body, only := in.render(body, r)
	events, rejected := in.counts.add(in.calls)
	if in.names != nil && events > 0 {
		in.counted = in.nameCounts.count(in.calls, body, before, in.counted[:0])
	}
	if in.needSamples && len(in.counts.samples) < formatSamples {
		if names := sampleFormat(in.transformer, r, in.calls); names != nil {
			in.counts.samples = append(in.counts.samples, names)
		}
	}
	switch {
	case events == 0:
	case len(in.cuts) > 0:
		in.buffer.Extend(body, events, r.Offset, r.Timestamp)
	default:
		if full := in.buffer.Append(body, events, r.Offset, r.Timestamp, in.sealBody); full != nil {
			in.push(full, sealFull)
		}
	}
	if events > 0 {
		for _, n := range in.counted { // empty if events are not counted by name
			n.inBatch++
		}
		if in.buffer.Events() == events {
			in.openEpoch = r.LeaderEpoch
		}
	}
	if events > 0 || rejected > 0 {
		in.openRange(r.Timestamp)
	}
	if rejected > 0 {
		in.writeDeadLetters(r, only)
	}
	in.advancePast(r)
	if in.buffer.Full() && len(in.cuts) == 0 && in.open != nil {
		in.seal(sealFull)
	}
}

// render appends a record's events to body and returns the result. It also returns the index of the
// single call mapped, or allCalls if every call was mapped.
func (in *intake) render(body []byte, r *kgo.Record) (_ []byte, only int) {
	in.calls = in.calls[:0]
	only = allCalls
	if in.cfg.Redrive {
		if !in.cfg.redrives(r) {
			in.calls = append(in.calls, transform.Call{Reason: transform.NotSelected, End: len(body)})
			return body, allCalls
		}
		if isEvent(r) {
			body = append(append(body, r.Value...), ',')
			hasValue := bytes.Contains(r.Value, []byte(`,"metricValue":`))
			in.calls = append(in.calls, transform.Call{End: len(body), HasMetricValue: hasValue})
			return body, 0
		}
		only = redrivenCall(r)
	}
	body, in.calls = in.transformer.AppendOnly(body, in.calls, in.inputs.of(r), only)
	return body, only
}

// advancePast sets in.next to the position after a record. If in.next is then at a recorded cut,
// advancePast seals the open range, if any.
func (in *intake) advancePast(r *kgo.Record) {
	in.next = position{r.Offset + 1, r.LeaderEpoch}
	if len(in.cuts) > 0 && in.next.offset == in.cuts[0] {
		in.sealAtCut()
	}
}

// openRange opens a range at the floor unless a range is already open. recordTime is the timestamp
// of the range's first record with events or rejected calls. The time that a fetch may wait for
// more records counts towards the range's age. The ranges of records that were fetched together are
// therefore also sealed and committed together, which costs less than doing so one by one.
func (in *intake) openRange(recordTime time.Time) {
	if in.open != nil {
		return
	}
	in.publishFloor()
	in.open = &batch{first: in.floor, opened: time.Now(), recordTime: recordTime}
	in.unsealed.set(in.floor.offset, recordTime)
	in.age.Reset(in.cfg.MaxAge - in.cfg.linger())
}

// publishFloor advances the floor past records that need no delivery. The floor does not move while
// a range is open. It also does not move while recorded cuts remain, because the next range must
// match the earlier owner's.
func (in *intake) publishFloor() {
	if in.open != nil || len(in.cuts) > 0 || in.floor == in.next {
		return
	}
	in.floor = in.next
	in.window.setFloor(in.floor, in.cuts)
}

// sealAtCut seals the open range at the first recorded cut, which equals in.next. If no range is
// open, sealAtCut advances the floor.
func (in *intake) sealAtCut() {
	in.cuts = in.cuts[1:]
	if in.open != nil {
		in.seal(sealCut)
		return
	}
	in.floor = in.next
	in.window.setFloor(in.floor, in.cuts)
}

// onAge seals the open range once it reaches batch.max_age. A range recorded by an earlier owner
// waits for its cut instead. If the log now ends before the cut, the missing records were lost, and
// onAge seals the range early.
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

// seal ends the open range at in.next and pushes it into the window.
func (in *intake) seal(cause string) { in.push(in.sealBody(), cause) }

// sealBody seals the buffer into the body of the open range, which ends at in.next. It returns nil
// if the range has no events.
func (in *intake) sealBody() *sink.Batch {
	return in.buffer.Seal(in.source, in.openEpoch, in.open.first.offset, in.next.offset, in.cfg.Gzip)
}

// push closes the open range with the given body and pushes it into the window. push waits for room
// unless the partition is stopped or released.
func (in *intake) push(body *sink.Batch, cause string) {
	b := in.open
	in.open = nil
	in.age.Stop()
	b.names = in.nameCounts.takeBatch()
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

// updateBudget adjusts the memory budget to the buffer's current size.
func (in *intake) updateBudget() {
	held := in.buffer.Len()
	in.memory.addOpen(held - in.held)
	in.held = held
}

// writeDeadLetters reports a record's rejected calls. If there is a dead-letter topic, it also
// writes one dead letter for each rejected call. The open range stays unfinished until the broker
// has acknowledged all its dead letters. The argument only is the index of the single call mapped,
// or allCalls.
func (in *intake) writeDeadLetters(r *kgo.Record, only int) {
	for i, call := range in.calls {
		if call.Reason.Outcome() != transform.Rejected {
			continue
		}
		if only != allCalls {
			i = only
		}
		in.rejects.add(r, i, call)
		if in.cfg.DeadLetterTopic == "" {
			continue
		}
		letter := in.letters.compose(r, i, rejection{
			reason: call.Reason.String(), detail: call.Detail, event: in.cfg.Redrive && isEvent(r),
		})
		b, size := in.open, letterBytes(letter)
		in.waitForRoom()
		in.window.addLetter(b, size)
		in.letters.write(in.ctx, letter, func(err error) { in.window.endLetter(b, size, err == nil) })
	}
}

// callCounts counts mapped records and calls. The counts are added to the metrics once per chunk,
// because updating the metrics for each record would cost too much.
type callCounts struct {
	records int
	reasons [transform.Reasons]int

	noMetricValue, recordTime int

	anyEvent           bool
	sinceEvent         int        // calls after the last event
	notCallsSinceEvent int        // calls filtered as not_a_call after the last event
	samples            [][]string // field names of such calls; at most formatSamples
}

// add counts one record and its calls. It returns the number of events and the number of rejected
// calls.
func (c *callCounts) add(calls []transform.Call) (events, rejected int) {
	c.records++
	for i := range calls {
		reason := calls[i].Reason
		c.reasons[reason]++
		if calls[i].NoMetricValue {
			c.noMetricValue++
		}
		if calls[i].RecordTime {
			c.recordTime++
		}
		c.sinceEvent++
		switch reason.Outcome() {
		case transform.Event:
			events++
			c.anyEvent, c.sinceEvent, c.notCallsSinceEvent = true, 0, 0
		case transform.Rejected:
			rejected++
		default:
			if reason == transform.NotACall {
				c.notCallsSinceEvent++
			}
		}
	}
	return events, rejected
}

// flush adds the counts to the metrics and resets them.
func (c *callCounts) flush(m *metrics) {
	m.records.Add(int64(c.records))
	m.noMetricValue.Add(int64(c.noMetricValue))
	m.recordTime.Add(int64(c.recordTime))
	for reason, n := range c.reasons {
		if n > 0 {
			m.calls[reason].Add(int64(n))
		}
	}
	*c = callCounts{}
}

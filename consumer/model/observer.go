package model

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
)

// history is the minimum number of recorded ranges, and of offsets below the committed offset, kept
// per partition. Steps that concern discarded ranges or offsets are not checked.
const history = 1 << 16

// maxIDs is the maximum number of payload IDs kept.
const maxIDs = 1 << 20

// Commit is one partition's commit, as applied by the broker.
type Commit struct {
	// Partition is the partition number.
	Partition int32
	// Log identifies the log that the member read, by the number of earlier truncations and
	// recreations.
	Log int
	// Offset is the committed offset.
	Offset int64
	// Cuts lists the recorded cuts beyond Offset, in ascending order.
	Cuts []int64
}

// Request is a request received by LaunchDarkly.
type Request struct {
	// Partition is the partition number.
	Partition int32
	// Log identifies the log that the member read, by the number of earlier truncations and
	// recreations.
	Log int
	// Offsets lists the offsets of the records that contain the request's events, in ascending
	// order. It must not be empty.
	Offsets []int64
	// ID is the payload ID.
	ID string
	// Body is a hash of the request body.
	Body uint64
	// Accepted reports whether LaunchDarkly accepted the request. The events of an accepted request
	// count unless LaunchDarkly accepted the same ID before.
	Accepted bool
}

// Observer checks the steps of a consumer group on one topic. It is not safe for concurrent use.
// Checking a step normally takes time logarithmic in the number of ranges kept and linear in the
// number of offsets that the step covers. Memory use is bounded.
type Observer struct {
	events     func(partition int32, log int, offset int64) bool
	partitions map[int32]*partition
	bodies     map[string]body
	order      []string // payload IDs in order of first appearance
}

// body describes the request body sent under a payload ID.
type body struct {
	hash        uint64
	partition   int32
	log         int
	first, last int64 // offsets of its first and last events
	accepted    bool
}

// span is the offset range [first, next).
type span struct{ first, next int64 }

func (s span) compare(o span) int {
	if s.first != o.first {
		return int(s.first - o.first)
	}
	return int(s.next - o.next)
}

// partition is the observed state of one partition.
type partition struct {
	known  bool    // a commit was observed since the start or the last reset
	ends   []int64 // per truncation, the first lost offset
	offset int64   // committed offset
	spans  []span  // ranges recorded by the last commit
	excuse []span  // recorded ranges that extend beyond a truncation and may change

	recorded []span           // recorded ranges kept, in ascending order
	done     map[int64]string // by offset in the current log: ID under which the event counted, or the constant letter
	pruned   int64            // done has no entries below this offset
	halved   map[int64]bool   // offsets of batches split by a truncation
}

// letter marks a dead-lettered record in place of a payload ID.
const letter = "dead letter"

// NewObserver returns an Observer without history. events reports whether a record contains an
// event that must be counted or dead-lettered. The Observer calls this function only for offsets in
// the log.
func NewObserver(events func(partition int32, log int, offset int64) bool) *Observer {
	return &Observer{events: events, partitions: map[int32]*partition{}, bodies: map[string]body{}}
}

// partition returns a partition's state, creating it if necessary.
func (o *Observer) partition(number int32) *partition {
	p := o.partitions[number]
	if p == nil {
		p = &partition{done: map[int64]string{}, halved: map[int64]bool{}}
		o.partitions[number] = p
	}
	return p
}

// lift returns the newest log that has the same records as the given log, up to and including the
// given offset.
func (p *partition) lift(log int, last int64) int {
	for log < len(p.ends) && last < p.ends[log] {
		log++
	}
	return log
}

// Commit checks a commit. A commit for an older log is not checked if its offset is beyond the part
// that the older and the current log share. The next owner's start rules cover that case.
func (o *Observer) Commit(c Commit) error {
	p := o.partition(c.Partition)
	spans := make([]span, 0, len(c.Cuts))
	from := c.Offset
	for _, cut := range c.Cuts {
		spans = append(spans, span{from, cut})
		from = cut
	}
	for _, s := range spans {
		p.record(s)
		for log := c.Log; log < len(p.ends); log++ {
			p.halve(s, p.ends[log])
		}
	}
	log := p.lift(c.Log, c.Offset-1)
	if log < len(p.ends) {
		return nil
	}
	if c.Log < len(p.ends) {
		for _, s := range spans {
			if s.next > p.ends[c.Log] {
				p.excuse = append(p.excuse, s)
			}
		}
	}
	was := *p
	p.known, p.offset, p.spans = true, c.Offset, spans
	p.excuse = slices.DeleteFunc(slices.Clone(p.excuse), func(s span) bool { return s.next <= c.Offset })
	if !was.known {
		p.pruned = c.Offset
		return nil
	}
	if c.Offset < was.offset {
		return fmt.Errorf("committed offset decreased: partition %d, from %d to %d", c.Partition, was.offset, c.Offset)
	}
	for offset := was.offset; offset < c.Offset; offset++ {
		if _, done := p.done[offset]; !done && o.events(c.Partition, log, offset) {
			return fmt.Errorf("commit passes an undelivered record: partition %d, committed offset %d, record offset %d",
				c.Partition, c.Offset, offset)
		}
	}
	for _, s := range was.spans {
		if s.next > c.Offset && !slices.Contains(spans, s) && !slices.Contains(was.excuse, s) &&
			len(o.eventsOf(c.Partition, log, s)) > 0 {
			return fmt.Errorf("recorded range changed: partition %d, "+
				"[%d, %d) missing from the commit at offset %d with cuts %v", c.Partition, s.first, s.next, c.Offset, c.Cuts)
		}
	}
	for ; p.pruned < c.Offset-history; p.pruned++ {
		delete(p.done, p.pruned)
		delete(p.halved, p.pruned)
	}
	return nil
}

// halve marks a range's offsets below end, the offset of a truncation, if the truncation splits the
// range.
func (p *partition) halve(s span, end int64) {
	for offset := s.first; s.next > end && offset < end; offset++ {
		p.halved[offset] = true
	}
}

// inHalved reports whether an offset is in a recorded range split by a truncation.
func (p *partition) inHalved(offset int64) bool {
	return slices.ContainsFunc(p.recorded, func(s span) bool {
		return s.first <= offset && offset < s.next &&
			slices.ContainsFunc(p.ends, func(end int64) bool { return s.first < end && end < s.next })
	})
}

// record adds a recorded range.
func (p *partition) record(s span) {
	i, known := slices.BinarySearchFunc(p.recorded, s, span.compare)
	if known {
		return
	}
	p.recorded = slices.Insert(p.recorded, i, s)
	if len(p.recorded) > 2*history {
		p.recorded = slices.Clone(p.recorded[history:])
	}
}

// eventsOf returns the offsets of a range's records that contain events.
func (o *Observer) eventsOf(partition int32, log int, s span) (offsets []int64) {
	for offset := s.first; offset < s.next; offset++ {
		if o.events(partition, log, offset) {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// Request checks a request, and counts its events if the request was accepted.
func (o *Observer) Request(r Request) error {
	p := o.partition(r.Partition)
	first, last := r.Offsets[0], r.Offsets[len(r.Offsets)-1]
	is := body{r.Body, r.Partition, r.Log, first, last, r.Accepted}
	was, known := o.bodies[r.ID]
	if !known {
		o.order = append(o.order, r.ID)
	}
	is.accepted = is.accepted || was.accepted
	o.bodies[r.ID] = is
	if len(o.order) > maxIDs {
		delete(o.bodies, o.order[0])
		o.order = o.order[1:]
	}
	older := r.Log < len(p.ends) && p.lift(r.Log, last) < len(p.ends)
	count := r.Accepted && (!known || !was.accepted)
	if older {
		for _, offset := range r.Offsets { // count the records that are still in the current log
			if p.lift(r.Log, offset) == len(p.ends) {
				p.halved[offset] = true
				if count {
					p.done[offset] = r.ID
				}
			}
		}
	}
	switch {
	case known && was.hash != is.hash:
		return fmt.Errorf("payload ID with two bodies: %s", r.ID)
	case known && (was.partition != is.partition || was.first != is.first || was.last != is.last ||
		p.lift(was.log, last) != p.lift(is.log, last) && !p.inHalved(first)):
		return fmt.Errorf("payload ID for two ranges: %s, partition %d, records %d to %d; partition %d, records %d to %d",
			r.ID, was.partition, was.first, was.last, is.partition, first, last)
	case !o.isRecorded(p, r):
		return fmt.Errorf("request for a range that is not recorded: partition %d, records %d to %d", r.Partition,
			first, last)
	case older || !r.Accepted:
		return nil
	}
	for _, offset := range r.Offsets {
		by, done := p.done[offset]
		p.done[offset] = r.ID
		if count && done && by != r.ID && by != letter && !p.halved[offset] {
			return fmt.Errorf("event counted twice: partition %d, record %d", r.Partition, offset)
		}
	}
	return nil
}

// isRecorded reports whether a request's events are those of a recorded range or part of one.
func (o *Observer) isRecorded(p *partition, r Request) bool {
	first := r.Offsets[0]
	for i := sort.Search(len(p.recorded), func(i int) bool { return p.recorded[i].first > first }) - 1; i >= 0; i-- {
		if s := p.recorded[i]; first < s.next && isPart(r.Offsets, o.eventsOf(r.Partition, r.Log, s)) {
			return true
		}
	}
	return len(p.recorded) > history && first < p.recorded[0].first
}

// isPart reports whether offsets are those of a whole batch, or of a part produced by repeated
// halving.
func isPart(offsets, batch []int64) bool {
	for len(offsets) < len(batch) {
		if middle := len(batch) / 2; offsets[0] < batch[middle] {
			batch = batch[:middle]
		} else {
			batch = batch[middle:]
		}
	}
	return slices.Equal(offsets, batch)
}

// DeadLetter marks a record in the current log as dead-lettered.
func (o *Observer) DeadLetter(number int32, offset int64) {
	p := o.partition(number)
	if _, done := p.done[offset]; !done {
		p.done[offset] = letter
	}
}

// Truncated marks all records at or above the given offset as lost. A recreated topic counts as
// truncated at 0.
func (o *Observer) Truncated(number int32, end int64) {
	p := o.partition(number)
	p.ends = append(p.ends, end)
	p.offset, p.pruned = min(p.offset, end), min(p.pruned, end)
	for _, s := range p.spans {
		if s.next > end {
			p.excuse = append(p.excuse, s)
		}
	}
	for _, s := range p.recorded {
		p.halve(s, end)
	}
	maps.DeleteFunc(p.done, func(offset int64, _ string) bool { return offset >= end })
}

// Reset marks the committed offset as reset by an operator. Events may then be counted again.
func (o *Observer) Reset(number int32) {
	p := o.partition(number)
	p.known, p.spans, p.excuse = false, nil, nil
	clear(p.done)
}

// Undelivered returns the offset of the first record below the given end offset that is not
// filtered, delivered, or dead-lettered. If there is none, Undelivered returns that end offset.
func (o *Observer) Undelivered(number int32, end int64) int64 {
	p := o.partition(number)
	for offset := p.pruned; offset < end; offset++ {
		if _, done := p.done[offset]; !done && o.events(number, len(p.ends), offset) {
			return offset
		}
	}
	return end
}

// Clone returns an independent copy of o.
func (o *Observer) Clone() *Observer {
	c := &Observer{o.events, make(map[int32]*partition, len(o.partitions)), maps.Clone(o.bodies), slices.Clone(o.order)}
	for number, p := range o.partitions {
		q := *p
		q.ends, q.excuse, q.recorded = slices.Clone(p.ends), slices.Clone(p.excuse), slices.Clone(p.recorded)
		q.done, q.halved = maps.Clone(p.done), maps.Clone(p.halved)
		c.partitions[number] = &q
	}
	return c
}

// Key returns a string that is equal for two Observers only if they treat all further steps alike.
func (o *Observer) Key() string {
	var b []byte
	number := func(n int64) { b = append(strconv.AppendInt(b, n, 10), ' ') }
	for _, k := range slices.Sorted(maps.Keys(o.partitions)) {
		p := o.partitions[k]
		b = fmt.Appendf(b, "%d %v %v %d %v %v %v ", k, p.known, p.ends, p.offset, p.spans, p.excuse, p.recorded)
		for _, offset := range slices.Sorted(maps.Keys(p.done)) {
			number(offset)
			b = append(append(b, p.done[offset]...), ' ')
		}
		for _, offset := range slices.Sorted(maps.Keys(p.halved)) {
			number(offset)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(o.bodies)) {
		b = append(b, id...)
		b = fmt.Appendf(b, "%v ", o.bodies[id])
	}
	return string(b)
}

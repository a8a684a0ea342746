package model

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
)

// history is how much of a partition's past is kept: ranges, and offsets below the committed one.
// What is older is not judged.
const history = 1 << 16

// maxIDs is how many payload IDs are kept.
const maxIDs = 1 << 20

// Commit is a commit of one partition, as the broker applied it.
type Commit struct {
	Partition int32
	Log       int // how many times the log had been truncated or recreated when the member read it
	Offset    int64
	Cuts      []int64 // beyond the offset, ascending
}

// Request is a request that LaunchDarkly received.
type Request struct {
	Partition int32
	Log       int     // how many times the log had been truncated or recreated when the member read it
	Offsets   []int64 // of the records that its events came from, ascending; at least one
	ID        string  // payload ID
	Body      uint64  // hash of the body
	Accepted  bool    // its events count, unless its ID was accepted before
}

// Observer judges the steps of a consumer group on one topic. It is not safe for concurrent use. A
// step takes time logarithmic in the ranges kept, plus the length of its offsets and cuts. Memory
// is bounded.
type Observer struct {
	events     func(partition int32, log int, offset int64) bool
	partitions map[int32]*partition
	bodies     map[string]body
	order      []string // IDs in the order in which they were first seen
}

// body is what a payload ID stands for.
type body struct {
	hash        uint64
	partition   int32
	log         int
	first, last int64 // offsets of its events
	accepted    bool
}

// span is a range of offsets, [first, next).
type span struct{ first, next int64 }

func (s span) compare(o span) int {
	if s.first != o.first {
		return int(s.first - o.first)
	}
	return int(s.next - o.next)
}

// partition is what is known of one partition.
type partition struct {
	known  bool    // a commit was seen since the start or the last reset
	ends   []int64 // per truncation, the first offset that was lost
	offset int64   // committed
	spans  []span  // recorded by the last commit
	excuse []span  // reach beyond a truncation, and may change

	recorded []span           // ever, ascending
	done     map[int64]string // by offset in the present log: the payload ID that counted it, or letter
	pruned   int64            // done holds nothing below
	halved   map[int64]bool   // offsets of batches that a truncation cut in two
}

// letter stands for a payload ID where a record was dead-lettered.
const letter = "dead letter"

// NewObserver returns an Observer that has seen nothing. events reports whether a record holds an
// event that is to be counted or dead-lettered; it is not called for offsets outside the log.
func NewObserver(events func(partition int32, log int, offset int64) bool) *Observer {
	return &Observer{events: events, partitions: map[int32]*partition{}, bodies: map[string]body{}}
}

func (o *Observer) partition(number int32) *partition {
	p := o.partitions[number]
	if p == nil {
		p = &partition{done: map[int64]string{}, halved: map[int64]bool{}}
		o.partitions[number] = p
	}
	return p
}

// lift returns the newest log that holds the same records up to and including last.
func (p *partition) lift(log int, last int64) int {
	for log < len(p.ends) && last < p.ends[log] {
		log++
	}
	return log
}

// Commit judges a commit. One of an older log whose offset the present log does not share is not
// judged: the start rules of the next owner deal with it.
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
		return fmt.Errorf("commit goes back: partition %d from %d to %d", c.Partition, was.offset, c.Offset)
	}
	for offset := was.offset; offset < c.Offset; offset++ {
		if _, done := p.done[offset]; !done && o.events(c.Partition, log, offset) {
			return fmt.Errorf("commit passes an undelivered record: partition %d, commit %d, record %d", c.Partition,
				c.Offset, offset)
		}
	}
	for _, s := range was.spans {
		if s.next > c.Offset && !slices.Contains(spans, s) && !slices.Contains(was.excuse, s) &&
			len(o.eventsOf(c.Partition, log, s)) > 0 {
			return fmt.Errorf("recorded range changed: partition %d, [%d, %d) is not in the commit of %d with cuts %v",
				c.Partition, s.first, s.next, c.Offset, c.Cuts)
		}
	}
	for ; p.pruned < c.Offset-history; p.pruned++ {
		delete(p.done, p.pruned)
		delete(p.halved, p.pruned)
	}
	return nil
}

// halve notes that the records of a range from end on were lost.
func (p *partition) halve(s span, end int64) {
	for offset := s.first; s.next > end && offset < end; offset++ {
		p.halved[offset] = true
	}
}

// inHalved reports whether a recorded range that a truncation cut in two holds an offset.
func (p *partition) inHalved(offset int64) bool {
	return slices.ContainsFunc(p.recorded, func(s span) bool {
		return s.first <= offset && offset < s.next &&
			slices.ContainsFunc(p.ends, func(end int64) bool { return s.first < end && end < s.next })
	})
}

// record notes a recorded range.
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

// eventsOf returns the offsets of a range's records with events.
func (o *Observer) eventsOf(partition int32, log int, s span) (offsets []int64) {
	for offset := s.first; offset < s.next; offset++ {
		if o.events(partition, log, offset) {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// Request judges a request, and counts its events if it is accepted.
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
		for _, offset := range r.Offsets { // of those, the present log has kept
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
		return fmt.Errorf("payload ID for two ranges: %s, partition %d, records %d to %d, and partition %d, records %d to %d",
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

// isRecorded reports whether a recorded range, or a part of it, holds the events of a request.
func (o *Observer) isRecorded(p *partition, r Request) bool {
	first := r.Offsets[0]
	for i := sort.Search(len(p.recorded), func(i int) bool { return p.recorded[i].first > first }) - 1; i >= 0; i-- {
		if s := p.recorded[i]; first < s.next && isPart(r.Offsets, o.eventsOf(r.Partition, r.Log, s)) {
			return true
		}
	}
	return len(p.recorded) > history && first < p.recorded[0].first
}

// isPart reports whether offsets are those of a whole batch, of one of its halves, of a half of
// that, and so on.
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

// DeadLetter notes that a record of the present log was dead-lettered.
func (o *Observer) DeadLetter(number int32, offset int64) {
	p := o.partition(number)
	if _, done := p.done[offset]; !done {
		p.done[offset] = letter
	}
}

// Truncated notes that the records from end on were lost. A recreated topic is one truncated at 0.
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

// Reset notes that an operator reset the committed offset. Events may count again from here on.
func (o *Observer) Reset(number int32) {
	p := o.partition(number)
	p.known, p.spans, p.excuse = false, nil, nil
	clear(p.done)
}

// Undelivered returns the first offset below end whose record is neither filtered, delivered, nor
// dead-lettered, or end.
func (o *Observer) Undelivered(number int32, end int64) int64 {
	p := o.partition(number)
	for offset := p.pruned; offset < end; offset++ {
		if _, done := p.done[offset]; !done && o.events(number, len(p.ends), offset) {
			return offset
		}
	}
	return end
}

// Clone returns a copy that can be fed without changing o.
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

// Key returns a text that is equal for Observers that judge every further step alike.
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

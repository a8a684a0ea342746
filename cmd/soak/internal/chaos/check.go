//go:build linux

package chaos

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"net/http"
	"slices"
	"sort"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Check returns every broken invariant, in words, at most ten of a kind. None is the good outcome.
func (e *Evidence) Check() []string {
	c := newChecker(e)
	c.bodies()
	c.check()
	return c.broken
}

func (c *checker) check() {
	c.cuts()
	c.counts()
	c.letters()
	c.commits("", c.Commits)
	c.commits(sampled, c.Samples)
	c.kept("", c.Commits)
	c.kept(sampled, c.Samples)
	c.end()
	c.absences()
	c.replay()
	if c.Clean {
		c.clean()
	}
}

// sampled is the prefix of broken rules that were found in samples.
const sampled = "sampled: "

// never is later than any time.
const never = math.MaxInt64

// checker holds the evidence by partition. Times are in milliseconds.
type checker struct {
	*Evidence
	broken []string
	told   map[string]int

	byNumber map[int]Record
	taken    map[int][]int32       // by number: the requests that counted it, without duplicates
	logs     map[int32][]version   // by partition
	ranges   map[int32][]span      // that commits recorded, by their start
	written  map[int]Letter        // by number: the first letter of each record
	repeats  int                   // letters beyond the first
	judged   int                   // absences
	steps    int                   // that were replayed through the model
	posts    map[int32][]time.Time // of each partition: when events counted
}

// version is a version of a partition's log. There is one; or two, if a lagging replica was
// elected.
type version struct {
	since   int64    // when it began
	records []Record // ascending
	done    []int64  // per record: when it and each before it was done with; never
}

// span is a range of a partition that lies between two neighbours in a commit.
type span struct {
	first, next int64
	since       int64 // of the first such commit
}

func newChecker(e *Evidence) *checker {
	c := &checker{Evidence: e, told: map[string]int{}, byNumber: map[int]Record{}, taken: map[int][]int32{}, logs: map[int32][]version{},
		ranges: map[int32][]span{}, written: map[int]Letter{}, posts: map[int32][]time.Time{}}
	all := map[int32][]Record{}
	for _, r := range e.Produced {
		c.byNumber[r.Number] = r
		all[r.Partition] = append(all[r.Partition], r)
	}
	for i, r := range e.Requests {
		if r.Accepted && !r.Duplicate {
			for _, n := range r.Numbers {
				c.taken[n] = append(c.taken[n], int32(i))
			}
		}
	}
	for _, l := range e.Letters {
		if _, known := c.written[l.Number]; known {
			c.repeats++
		} else {
			c.written[l.Number] = l
		}
	}
	for partition, records := range all {
		slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Offset, b.Offset) })
		at, unclean := e.Unclean[partition]
		if !unclean {
			c.logs[partition] = []version{c.version(0, records)}
			continue
		}
		var before, after []Record
		for _, r := range records {
			if r.Lost.IsZero() {
				after = append(after, r)
			}
			if r.Acked.Before(at) {
				before = append(before, r)
			}
		}
		c.logs[partition] = []version{c.version(0, before), c.version(at.UnixMilli(), after)}
	}
	return c
}

func (c *checker) version(since int64, records []Record) version {
	v, latest := version{since: since, records: records}, int64(0)
	for _, r := range records {
		latest = max(latest, c.doneWith(r))
		v.done = append(v.done, latest)
	}
	return v
}

// doneWith returns when a commit may pass a record.
func (c *checker) doneWith(r Record) int64 {
	at := int64(never)
	if !r.Lost.IsZero() {
		at = r.Lost.UnixMilli()
	}
	switch kind := KindOf(r.Number); {
	case kind == Filtered || r.Offset < c.From[r.Partition]:
		return 0
	case kind == Delivered:
		if by := c.taken[r.Number]; len(by) > 0 {
			at = min(at, c.Requests[by[0]].Done.UnixMilli())
		}
	default:
		if l, ok := c.written[r.Number]; ok {
			at = min(at, l.Time.UnixMilli())
		}
	}
	return at
}

// optional reports whether a record might never be delivered: Kafka lost it, or an operator set the
// group's offsets.
func (c *checker) optional(r Record) bool {
	to, bounded := c.To[r.Partition]
	return !r.Lost.IsZero() || r.Offset < c.From[r.Partition] || c.To != nil && (!bounded || r.Offset >= to)
}

// tell notes a broken invariant.
func (c *checker) tell(invariant, format string, args ...any) {
	if c.told[invariant]++; c.told[invariant] <= 10 {
		c.broken = append(c.broken, invariant+": "+fmt.Sprintf(format, args...))
	}
}

// The longest that an event may take from its acknowledgement to its delivery.
const (
	stallLimit      = time.Minute // LaunchDarkly and brokers fail
	cleanStallLimit = 20 * time.Second
)

// counts: nothing missing, nothing twice, nothing that was not to be delivered, nothing late.
func (c *checker) counts() {
	limit := stallLimit
	if c.Clean {
		limit = cleanStallLimit
	}
	for _, r := range c.Produced {
		switch by := c.taken[r.Number]; {
		case KindOf(r.Number) != Delivered && len(by) > 0:
			c.tell("delivered what is not to be", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		case KindOf(r.Number) != Delivered:
		case len(by) > 0 && r.Offset < c.From[r.Partition]:
			c.tell("delivered from before the group's offset", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		case len(by) == 0 && c.optional(r):
		case len(by) == 0:
			c.tell("missing", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		case len(by) > 1 && c.twice(r, by):
			one, other := c.Requests[by[0]], c.Requests[by[1]]
			c.tell("counted twice", "event %d, partition %d, offset %d, by %s at %s and by %s at %s", r.Number, r.Partition, r.Offset,
				one.ID, clock(one.Done), other.ID, clock(other.Done))
		case c.wait(r) > limit:
			done := c.Requests[by[0]].Done
			c.tell("stalled", "event %d, partition %d, offset %d, acknowledged at %s, counted at %s", r.Number, r.Partition, r.Offset, clock(r.Acked), clock(done))
		}
	}
}

// wait returns how long a record that counts has waited for it.
func (c *checker) wait(r Record) time.Duration {
	from := r.Acked
	if c.Since.After(from) {
		from = c.Since
	}
	return c.Requests[c.taken[r.Number][0]].Done.Sub(from)
}

// twice reports whether a record must not count by all of these requests. Once Kafka has lost a
// record of a range, nobody can form the same request again: those that remain of the range count
// by another one. So of the requests that count a record, all but one must be of ranges of which
// Kafka lost records.
func (c *checker) twice(r Record, by []int32) bool {
	whole := 0
	for _, i := range by {
		q := c.Requests[i]
		lost := false
		for _, v := range c.logs[r.Partition] {
			j := sort.Search(len(v.records), func(j int) bool { return v.records[j].Offset >= q.First })
			for ; j < len(v.records) && v.records[j].Offset < q.Next; j++ {
				lost = lost || !v.records[j].Lost.IsZero()
			}
		}
		if !lost {
			whole++
		}
	}
	return whole > 1 || !r.Lost.IsZero()
}

// bodies: one body for each payload ID; no request that a correct client does not send.
func (c *checker) bodies() {
	first := map[string]ldtest.Hash{}
	for _, r := range c.Requests {
		for _, f := range r.Faults {
			c.tell("LaunchDarkly objects", "payload ID %s: %s", r.ID, f)
		}
		if r.Hash == (ldtest.Hash{}) {
			continue
		}
		if h, known := first[r.ID]; known && h != r.Hash {
			c.tell("two bodies", "payload ID %s, the second at %s", r.ID, clock(r.Arrived))
		}
		first[r.ID] = r.Hash
	}
}

// letters: the dead-letter topic holds what it should and nothing else.
func (c *checker) letters() {
	for _, r := range c.Produced {
		if _, written := c.written[r.Number]; !written && KindOf(r.Number).reason() != "" && !c.optional(r) {
			c.tell("no dead letter", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		}
	}
	for _, l := range c.Letters {
		switch r, produced := c.byNumber[l.Number]; {
		case !produced || r.Partition != l.Partition || r.Offset != l.Offset:
			c.tell("dead letter of nothing", "partition %d, offset %d", l.Partition, l.Offset)
		case l.Reason != KindOf(r.Number).reason():
			c.tell("wrong dead letter", "event %d, partition %d, offset %d: reason %q, want %q", r.Number, r.Partition, r.Offset, l.Reason, KindOf(r.Number).reason())
		}
	}
}

// hasEvents reports whether a range holds records that events are made of, in each version of the
// log.
func (c *checker) hasEvents(partition int32, first, next int64) bool {
	for _, v := range c.logs[partition] {
		if len(v.events(first, next)) == 0 {
			return false
		}
	}
	return len(c.logs[partition]) > 0
}

// events returns the numbers of the records of a range that events are made of, in the order of the
// log.
func (v version) events(first, next int64) (numbers []int) {
	log := v.records
	i := sort.Search(len(log), func(i int) bool { return log[i].Offset >= first })
	for ; i < len(log) && log[i].Offset < next; i++ {
		if kind := KindOf(log[i].Number); kind == Delivered || kind == Poisoned {
			numbers = append(numbers, log[i].Number)
		}
	}
	return numbers
}

// end: what is committed after all members left is the end of the log.
func (c *checker) end() {
	for partition, end := range c.Ends {
		if c.Final[partition] != end {
			c.tell("not committed to the end", "partition %d: %d of %d", partition, c.Final[partition], end)
		}
	}
}

// cuts: each request holds the events of a range that a commit recorded before, or a part of them.
func (c *checker) cuts() {
	since := map[int32]map[[2]int64]int64{}
	for _, k := range c.Commits {
		if since[k.Partition] == nil {
			since[k.Partition] = map[[2]int64]int64{}
		}
		from := k.Offset
		for _, cut := range k.Cuts {
			at, known := since[k.Partition][[2]int64{from, cut}]
			if !known || k.Time.UnixMilli() < at {
				since[k.Partition][[2]int64{from, cut}] = k.Time.UnixMilli()
			}
			from = cut
		}
	}
	for partition, spans := range since {
		for s, at := range spans {
			c.ranges[partition] = append(c.ranges[partition], span{s[0], s[1], at})
		}
		slices.SortFunc(c.ranges[partition], func(a, b span) int { return cmp.Compare(a.first, b.first) })
	}
	for i := range c.Requests {
		if len(c.Requests[i].Numbers) > 0 {
			c.cut(&c.Requests[i])
		}
	}
}

// cut finds the recorded range that a request's events are of.
func (c *checker) cut(r *Request) {
	first := c.byNumber[r.Numbers[0]]
	for _, n := range r.Numbers {
		record, known := c.byNumber[n]
		if !known {
			c.tell("posted what was never produced", "event %d by %s", n, r.ID)
			return
		}
		if record.Partition != first.Partition {
			c.tell("partitions mixed", "payload ID %s: partitions %d and %d", r.ID, first.Partition, record.Partition)
			return
		}
	}
	r.Partition = first.Partition
	ranges := c.ranges[first.Partition]
	for i := sort.Search(len(ranges), func(i int) bool { return ranges[i].first > first.Offset }) - 1; i >= 0; i-- {
		s := ranges[i]
		if first.Offset >= s.next || s.since > r.Arrived.UnixMilli() {
			continue
		}
		for version, v := range c.logs[first.Partition] {
			for events := range c.remaining(first.Partition, v.events(s.first, s.next), r.Arrived) {
				if isPart(r.Numbers, events) {
					r.First, r.Next, r.version = s.first, s.next, version
					return
				}
			}
		}
	}
	c.tell("posted before its cut was committed", "payload ID %s at %s: %d events from offset %d of partition %d", r.ID, clock(r.Arrived), len(r.Numbers), first.Offset, first.Partition)
}

// remaining yields what the events of a range may be at a time: all of them, and without those that
// Kafka had deleted by then, which are the first, and of which the first may have been read before.
func (c *checker) remaining(partition int32, events []int, at time.Time) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		if !yield(events) {
			return
		}
		if _, unclean := c.Unclean[partition]; unclean {
			return
		}
		deleted := 0
		for deleted < len(events) {
			if lost := c.byNumber[events[deleted]].Lost; lost.IsZero() || lost.After(at) {
				break
			}
			deleted++
		}
		for read := range deleted {
			if !yield(slices.Concat(events[:read], events[deleted:])) {
				return
			}
		}
	}
}

// isPart says whether numbers are those of a whole batch, of one of its halves, of a half of that,
// and so on: what is posted of a batch that LaunchDarkly refuses.
func isPart(numbers, batch []int) bool {
	for len(numbers) < len(batch) && len(batch) > 1 {
		if middle := len(batch) / 2; slices.Contains(batch[:middle], numbers[0]) {
			batch = batch[:middle]
		} else {
			batch = batch[middle:]
		}
	}
	return slices.Equal(numbers, batch)
}

// slow says whether the brokers took long for anything during an absence, as they do on a machine
// that is overloaded. How soon members take over cannot be judged then.
func (c *checker) slow(gone Absence) bool {
	return slices.ContainsFunc(c.Produced, func(r Record) bool {
		return r.Sent.Before(gone.Deadline) && r.Acked.After(gone.From) && r.Acked.Sub(r.Sent) > slowAck
	})
}

const slowAck = 500 * time.Millisecond

// absences: after half of an absence's time, what counts is by those who took over.
func (c *checker) absences() {
	for _, r := range c.Requests {
		if r.Accepted && !r.Duplicate && len(r.Numbers) > 0 {
			p := c.byNumber[r.Numbers[0]].Partition
			c.posts[p] = append(c.posts[p], r.Done)
		}
	}
	for _, gone := range c.Gone {
		if c.slow(gone) {
			continue
		}
		c.judged++
		half := gone.From.Add(gone.Deadline.Sub(gone.From) / 2)
		for partition, posts := range c.posts {
			if posts[0].After(gone.From) {
				continue // added since, or not read yet: the group may not know it
			}
			i := sort.Search(len(posts), func(i int) bool { return posts[i].After(half) })
			if i == len(posts) || posts[i].After(gone.Deadline) {
				c.tell("not taken over in time", "partition %d: nothing counted from %s to %s, after a member went at %s", partition, clock(half), clock(gone.Deadline), clock(gone.From))
			}
		}
	}
}

// clean: nothing is sent twice, but what LaunchDarkly refused.
func (c *checker) clean() {
	sent := map[string]bool{} // by payload ID; false once it was refused
	for _, r := range c.Requests {
		if sent[r.ID] {
			c.tell("sent twice on a clean change", "payload ID %s at %s", r.ID, clock(r.Arrived))
		}
		sent[r.ID] = r.Status != http.StatusBadRequest && r.Status != http.StatusRequestEntityTooLarge
	}
	if c.repeats > 0 {
		c.tell("dead letters written twice on a clean change", "%d", c.repeats)
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

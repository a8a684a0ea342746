//go:build linux

package chaos

import (
	"cmp"
	"fmt"
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
	c.check()
	return c.broken
}

func (c *checker) check() {
	c.counts()
	c.bodies()
	c.letters()
	c.commits("", c.Commits)
	c.commits("sampled: ", c.Samples)
	c.kept("", c.Commits)
	c.kept("sampled: ", c.Samples)
	c.end()
	c.cuts()
	c.absences()
	if c.Clean {
		c.clean()
	}
}

// never is later than any time.
const never = math.MaxInt64

// checker holds the evidence by partition. Times are in milliseconds.
type checker struct {
	*Evidence
	broken []string
	told   map[string]int

	byNumber map[int]Record
	taken    map[int][]Request     // by number: the requests that counted it, duplicates left out
	logs     map[int32][]Record    // by partition, ascending
	done     map[int32][]int64     // beside logs: when this record, and each before it, was done with; never
	ranges   map[int32][]span      // that commits recorded, by their start
	written  map[place]Letter      // the first letter of each record
	repeats  int                   // letters beyond the first
	judged   int                   // absences
	posts    map[int32][]time.Time // of each partition: when events counted
}

type place struct {
	partition int32
	offset    int64
}

// span is a range of a partition that lies between two neighbours in a commit.
type span struct {
	first, next int64
	since       int64 // of the first such commit
}

func newChecker(e *Evidence) *checker {
	c := &checker{Evidence: e, told: map[string]int{}, byNumber: map[int]Record{}, taken: map[int][]Request{}, logs: map[int32][]Record{},
		done: map[int32][]int64{}, ranges: map[int32][]span{}, written: map[place]Letter{}, posts: map[int32][]time.Time{}}
	for _, r := range e.Produced {
		c.byNumber[r.Number] = r
		c.logs[r.Partition] = append(c.logs[r.Partition], r)
	}
	for _, log := range c.logs {
		slices.SortFunc(log, func(a, b Record) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	for _, r := range e.Requests {
		if r.Taken && !r.Duplicate {
			for _, n := range r.Numbers {
				c.taken[n] = append(c.taken[n], r)
			}
		}
	}
	for _, l := range e.Letters {
		at := place{l.Partition, l.Offset}
		if _, known := c.written[at]; known {
			c.repeats++
		} else {
			c.written[at] = l
		}
	}
	for partition, log := range c.logs {
		latest := int64(0)
		for _, r := range log {
			latest = max(latest, c.doneWith(r))
			c.done[partition] = append(c.done[partition], latest)
		}
	}
	return c
}

// doneWith returns when a commit may pass a record.
func (c *checker) doneWith(r Record) int64 {
	switch KindOf(r.Number) {
	case Filtered:
		return 0
	case Delivered:
		if by := c.taken[r.Number]; len(by) > 0 {
			return by[0].Done.UnixMilli()
		}
	default:
		if l, ok := c.written[place{r.Partition, r.Offset}]; ok {
			return l.Time.UnixMilli()
		}
	}
	return never
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
		case len(by) == 0:
			c.tell("missing", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		case len(by) > 1:
			c.tell("counted twice", "event %d, partition %d, offset %d, by %s at %s and by %s at %s", r.Number, r.Partition, r.Offset,
				by[0].ID, clock(by[0].Done), by[1].ID, clock(by[1].Done))
		case by[0].Done.Sub(r.Acked) > limit:
			c.tell("stalled", "event %d, partition %d, offset %d, acknowledged at %s, counted at %s", r.Number, r.Partition, r.Offset, clock(r.Acked), clock(by[0].Done))
		}
	}
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
	of := map[place]Record{}
	for _, r := range c.Produced {
		at := place{r.Partition, r.Offset}
		of[at] = r
		if _, written := c.written[at]; !written && KindOf(r.Number).reason() != "" {
			c.tell("no dead letter", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		}
	}
	for _, l := range c.Letters {
		switch r, produced := of[place{l.Partition, l.Offset}]; {
		case !produced:
			c.tell("dead letter of nothing", "partition %d, offset %d", l.Partition, l.Offset)
		case l.Reason != KindOf(r.Number).reason():
			c.tell("wrong dead letter", "event %d, partition %d, offset %d: reason %q, want %q", r.Number, r.Partition, r.Offset, l.Reason, KindOf(r.Number).reason())
		}
	}
}

// commits: none passes what is not done with, none goes down.
func (c *checker) commits(how string, commits []Commit) {
	last := map[int32]Commit{}
	for _, k := range commits {
		log := c.logs[k.Partition]
		i := sort.Search(len(log), func(i int) bool { return log[i].Offset >= k.Offset })
		if i > 0 && c.done[k.Partition][i-1] > k.Time.UnixMilli() {
			j := i - 1
			for j > 0 && c.doneWith(log[j]) <= k.Time.UnixMilli() {
				j--
			}
			c.tell(how+"committed before it was delivered", "commit %d of partition %d at %s passes event %d, offset %d", k.Offset, k.Partition, clock(k.Time), log[j].Number, log[j].Offset)
		}
		if was, known := last[k.Partition]; known && k.Offset < was.Offset {
			c.tell(how+"commit goes down", "partition %d from %d at %s to %d at %s", k.Partition, was.Offset, clock(was.Time), k.Offset, clock(k.Time))
		}
		last[k.Partition] = k
	}
}

// kept: a cut that ends a range with events stays in the commits until the offset has passed it.
func (c *checker) kept(how string, commits []Commit) {
	last := map[int32]Commit{}
	for _, k := range commits {
		was := last[k.Partition] // without cuts, if there is none
		from := was.Offset
		for _, cut := range was.Cuts {
			if cut > k.Offset && !slices.Contains(k.Cuts, cut) && len(c.events(k.Partition, from, cut)) > 0 {
				c.tell(how+"cut forgotten", "commit %d of partition %d at %s leaves out %d, which was in the one at %s", k.Offset, k.Partition, clock(k.Time), cut, clock(was.Time))
			}
			from = cut
		}
		last[k.Partition] = k
	}
}

// events returns the numbers of the records of a range that events are made of, in the order of the log.
func (c *checker) events(partition int32, first, next int64) (numbers []int) {
	log := c.logs[partition]
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
	for _, r := range c.Requests {
		if len(r.Numbers) > 0 {
			c.cut(r)
		}
	}
}

func (c *checker) cut(r Request) {
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
	ranges := c.ranges[first.Partition]
	for i := sort.Search(len(ranges), func(i int) bool { return ranges[i].first > first.Offset }) - 1; i >= 0; i-- {
		s := ranges[i]
		if first.Offset < s.next && s.since <= r.Arrived.UnixMilli() && isPart(r.Numbers, c.events(first.Partition, s.first, s.next)) {
			return
		}
	}
	c.tell("posted before its cut was committed", "payload ID %s at %s: %d events from offset %d of partition %d", r.ID, clock(r.Arrived), len(r.Numbers), first.Offset, first.Partition)
}

// isPart says whether numbers are those of a whole batch, of one of its halves, of a half of that, and so on: what is
// posted of a batch that LaunchDarkly refuses.
func isPart(numbers, batch []int) bool {
	for len(numbers) < len(batch) {
		if middle := len(batch) / 2; slices.Contains(batch[:middle], numbers[0]) {
			batch = batch[:middle]
		} else {
			batch = batch[middle:]
		}
	}
	return slices.Equal(numbers, batch)
}

// slow says whether the brokers took long for anything during an absence, as they do on a machine that is overloaded.
// How soon members take over cannot be judged then.
func (c *checker) slow(gone Absence) bool {
	return slices.ContainsFunc(c.Produced, func(r Record) bool {
		return r.Sent.Before(gone.Deadline) && r.Acked.After(gone.From) && r.Acked.Sub(r.Sent) > slowAck
	})
}

const slowAck = 500 * time.Millisecond

// absences: after half of an absence's time, what counts is by those who took over.
func (c *checker) absences() {
	for _, r := range c.Requests {
		if r.Taken && !r.Duplicate && len(r.Numbers) > 0 {
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

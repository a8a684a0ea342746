//go:build linux

package chaos

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// Check returns descriptions of broken invariants, at most ten per invariant. It returns nil if all
// invariants hold.
func (e *Evidence) Check() []string {
	c := newChecker(e)
	c.checkBodies()
	c.checkAll()
	return c.broken
}

func (c *checker) checkAll() {
	c.checkRanges()
	c.checkCounts()
	c.checkLetters()
	c.checkCommits("", c.Commits)
	c.checkCommits(sampled, c.Samples)
	c.checkCuts("", c.Commits)
	c.checkCuts(sampled, c.Samples)
	c.checkEnds()
	c.checkTakeovers()
	c.replay()
	if c.Clean {
		c.checkClean()
	}
}

// sampled is the prefix for violations found in Evidence.Samples.
const sampled = "sampled: "

// A time or offset that does not exist has the value never, which is greater than any other value.
const never = math.MaxInt64

// checker holds the evidence, indexed for the checks. Integer times are in Unix milliseconds.
type checker struct {
	*Evidence
	broken   []string
	reported map[string]int

	byNumber map[int]Record
	accepted map[int][]int32       // by record number: indexes of accepted, non-duplicate requests
	logs     map[int32][]version   // by partition
	ranges   map[int32][]span      // by partition: ranges recorded in commits, sorted by start
	written  map[int]Letter        // by record number: first dead letter
	repeats  int                   // dead letters for records that already had one
	judged   int                   // absences judged
	steps    int                   // steps replayed through the model
	sentAt   map[int32][]time.Time // by partition: arrival times of requests with the partition's events, ascending
}

// version is one state of a partition's log. A log has a second version if a lagging replica was
// elected.
type version struct {
	since   int64    // when this version began
	records []Record // sorted by offset
	done    []int64  // by record: latest doneWith of this record and all earlier ones
}

// span is the range between two neighboring offsets in a partition's commit.
type span struct {
	first, next int64
	since       int64 // time of the first commit that recorded the range
}

func newChecker(e *Evidence) *checker {
	c := &checker{Evidence: e, reported: map[string]int{}, byNumber: map[int]Record{}, accepted: map[int][]int32{},
		logs:   map[int32][]version{},
		ranges: map[int32][]span{}, written: map[int]Letter{}, sentAt: map[int32][]time.Time{}}
	all := map[int32][]Record{}
	for _, r := range e.Produced {
		c.byNumber[r.Number] = r
		all[r.Partition] = append(all[r.Partition], r)
	}
	for i, r := range e.Requests {
		if r.Accepted && !r.Duplicate {
			for _, n := range r.Numbers {
				c.accepted[n] = append(c.accepted[n], int32(i))
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

// doneWith returns the earliest time at which a commit may pass a record, or the constant never if
// no commit may pass it.
func (c *checker) doneWith(r Record) int64 {
	at := int64(never)
	if !r.Lost.IsZero() {
		at = r.Lost.UnixMilli()
	}
	switch kind := KindOf(r.Number); {
	case kind == Filtered || r.Offset < c.From[r.Partition]:
		return 0
	case kind == Delivered:
		if by := c.accepted[r.Number]; len(by) > 0 {
			at = min(at, c.Requests[by[0]].Done.UnixMilli())
		}
	default:
		if l, ok := c.written[r.Number]; ok {
			at = min(at, l.Time.UnixMilli())
		}
	}
	return at
}

// optional reports whether a record need not be delivered, because Kafka lost it or an operator
// reset the group's offsets.
func (c *checker) optional(r Record) bool {
	to, bounded := c.To[r.Partition]
	return !r.Lost.IsZero() || r.Offset < c.From[r.Partition] || c.To != nil && (!bounded || r.Offset >= to)
}

// report adds the description of a broken invariant to the results. It keeps at most ten
// descriptions per invariant.
func (c *checker) report(invariant, format string, args ...any) {
	if c.reported[invariant]++; c.reported[invariant] <= 10 {
		c.broken = append(c.broken, invariant+": "+fmt.Sprintf(format, args...))
	}
}

// These limits bound the time from a record's acknowledgment to its delivery, without the time in
// outages of brokers. stallLimit is generous, because a fault occurs about every two seconds and
// often forces a rejoin. In an hour-long run, the longest stall is about two minutes.
const (
	stallLimit      = 3 * time.Minute
	cleanStallLimit = 20 * time.Second
)

// checkCounts checks that no event is missing, late, counted twice, or delivered by mistake.
func (c *checker) checkCounts() {
	limit := stallLimit
	if c.Clean {
		limit = cleanStallLimit
	}
	for _, r := range c.Produced {
		switch by := c.accepted[r.Number]; {
		case KindOf(r.Number) != Delivered && len(by) > 0:
			c.report("delivered, but should not have been", "event %d, partition %d, offset %d",
				r.Number, r.Partition, r.Offset)
		case KindOf(r.Number) != Delivered:
		case len(by) > 0 && r.Offset < c.From[r.Partition]:
			c.report("delivered from below the group's offset", "event %d, partition %d, offset %d", r.Number, r.Partition,
				r.Offset)
		case len(by) == 0 && c.optional(r):
		case len(by) == 0:
			c.report("missing", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		case len(by) > 1 && c.countedTwice(r, by):
			one, other := c.Requests[by[0]], c.Requests[by[1]]
			c.report("counted twice", "event %d, partition %d, offset %d, by %s at %s and by %s at %s",
				r.Number, r.Partition, r.Offset, one.ID, clock(one.Done), other.ID, clock(other.Done))
		case c.wait(r) > limit:
			done := c.Requests[by[0]].Done
			c.report("stalled", "event %d, partition %d, offset %d, acknowledged at %s, counted at %s", r.Number, r.Partition,
				r.Offset, clock(r.Acked), clock(done))
		}
	}
}

// wait returns the time from a record's acknowledgment, or from a later offset reset, to its
// delivery, without the time in outages of brokers. The record must have been delivered.
func (c *checker) wait(r Record) time.Duration {
	from, done := r.Acked, c.Requests[c.accepted[r.Number][0]].Done
	if c.Since.After(from) {
		from = c.Since
	}
	wait := done.Sub(from)
	for _, o := range c.Outages {
		began, ended := max(o.From.Sub(from), 0), min(o.To.Sub(from), done.Sub(from))
		wait -= max(ended-began, 0)
	}
	return wait
}

// countedTwice reports whether a record is wrongly counted in more than one of the given requests.
// A lost record may be counted only once. If Kafka loses other records in a range, the same request
// can never be formed again, so the remaining records are sent in another request. Therefore, at
// most one of the given requests may be for an intact range.
func (c *checker) countedTwice(r Record, by []int32) bool {
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

// checkLetters checks that the dead-letter topic contains the expected records and nothing else.
func (c *checker) checkLetters() {
	for _, r := range c.Produced {
		if _, written := c.written[r.Number]; !written && KindOf(r.Number).reason() != "" && !c.optional(r) {
			c.report("no dead letter", "event %d, partition %d, offset %d", r.Number, r.Partition, r.Offset)
		}
	}
	for _, l := range c.Letters {
		switch r, produced := c.byNumber[l.Number]; {
		case !produced || r.Partition != l.Partition || r.Offset != l.Offset:
			c.report("dead letter without a record", "partition %d, offset %d", l.Partition, l.Offset)
		case l.Reason != KindOf(r.Number).reason():
			c.report("wrong dead letter", "event %d, partition %d, offset %d: reason %q, want %q", r.Number, r.Partition,
				r.Offset, l.Reason, KindOf(r.Number).reason())
		}
	}
}

// hasEvents reports whether a range contains records with events in every version of the log.
func (c *checker) hasEvents(partition int32, first, next int64) bool {
	for _, v := range c.logs[partition] {
		if len(v.events(first, next)) == 0 {
			return false
		}
	}
	return len(c.logs[partition]) > 0
}

// events returns the numbers of all records with events in a range, in log order.
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

// checkEnds checks that every committed offset equals the end offset after all members have left.
func (c *checker) checkEnds() {
	for partition, end := range c.Ends {
		if c.Final[partition] != end {
			c.report("not committed to the end", "partition %d: %d of %d", partition, c.Final[partition], end)
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

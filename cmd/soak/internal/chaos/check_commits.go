//go:build linux

package chaos

import (
	"slices"
	"sort"
	"time"
)

// commits: none passes what is not done with, none goes down.
func (c *checker) commits(how string, commits []Commit) {
	last, truncated := map[int32]Commit{}, map[int32]bool{}
	for _, k := range commits {
		if was, known := last[k.Partition]; known && k.Offset < was.Offset && !c.mayGoDown(was, k, truncated) {
			c.tell(how+"commit goes down", "partition %d from %d at %s to %d at %s", k.Partition, was.Offset, clock(was.Time), k.Offset, clock(k.Time))
		}
		if r, early := c.passed(k, truncated[k.Partition]); early && !k.Operator {
			c.tell(how+"committed before it was delivered", "commit %d of partition %d at %s passes event %d, offset %d", k.Offset, k.Partition, clock(k.Time), r.Number, r.Offset)
		}
		last[k.Partition] = k
	}
}

// passed returns a record that a commit must not have passed. Where the log has two versions, it
// must not have passed one of either, or one of the second if it is truncated: commits have
// followed the log down.
func (c *checker) passed(k Commit, truncated bool) (r Record, early bool) {
	at := k.Time.UnixMilli()
	versions := c.logs[k.Partition]
	if truncated {
		versions = versions[1:]
	}
	for _, v := range versions {
		if v.since > at {
			break
		}
		i := sort.Search(len(v.records), func(i int) bool { return v.records[i].Offset >= k.Offset })
		if i == 0 || v.done[i-1] <= at {
			return r, false
		}
		j := i - 1
		for j > 0 && c.doneWith(v.records[j]) <= at {
			j--
		}
		r, early = v.records[j], true
	}
	return r, early
}

// mayGoDown reports whether a commit may be below the one before it. That is so once after a
// lagging replica was elected, down to the first offset whose record was lost; and after an
// operator has set an offset beyond the end of the log.
func (c *checker) mayGoDown(was, k Commit, truncated map[int32]bool) bool {
	if was.Operator {
		return k.Offset >= c.From[k.Partition]
	}
	at, unclean := c.Unclean[k.Partition]
	if !unclean || truncated[k.Partition] || k.Time.Before(at.Truncate(time.Millisecond)) || k.Offset < c.firstLost(k.Partition) {
		return false
	}
	truncated[k.Partition] = true
	return true
}

// firstLost returns the first offset of a partition whose record was lost.
func (c *checker) firstLost(partition int32) int64 {
	for _, r := range c.logs[partition][0].records {
		if !r.Lost.IsZero() {
			return r.Offset
		}
	}
	return never
}

// kept: a cut that ends a range with events stays in the commits until the offset has passed it.
func (c *checker) kept(how string, commits []Commit) {
	last, truncated := map[int32]Commit{}, map[int32]time.Time{}
	for _, k := range commits {
		was := last[k.Partition] // without cuts, if there is none
		from := was.Offset
		for _, cut := range was.Cuts {
			if cut > k.Offset && !slices.Contains(k.Cuts, cut) && c.hasEvents(k.Partition, from, cut) && !c.mayForget(k, cut, truncated) {
				c.tell(how+"cut forgotten", "commit %d of partition %d at %s leaves out %d, which was in the one at %s", k.Offset, k.Partition, clock(k.Time), cut, clock(was.Time))
			}
			from = cut
		}
		last[k.Partition] = k
	}
}

// mayForget reports whether a commit may leave out a cut. That is so once after a lagging replica
// was elected, for a cut beyond the first offset whose record was lost.
func (c *checker) mayForget(k Commit, cut int64, truncated map[int32]time.Time) bool {
	at, unclean := c.Unclean[k.Partition]
	if before, known := truncated[k.Partition]; !unclean || known && before != k.Time || k.Time.Before(at.Truncate(time.Millisecond)) || cut <= c.firstLost(k.Partition) {
		return false
	}
	truncated[k.Partition] = k.Time
	return true
}

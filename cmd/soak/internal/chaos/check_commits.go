//go:build linux

package chaos

import (
	"slices"
	"sort"
	"time"
)

// checkCommits checks that no commit passes a record too early (see doneWith) or decreases the
// committed offset. prefix is prepended to the reported invariants.
func (c *checker) checkCommits(prefix string, commits []Commit) {
	last, truncated := map[int32]Commit{}, map[int32]bool{}
	for _, k := range commits {
		if was, known := last[k.Partition]; known && k.Offset < was.Offset && !c.allowDecrease(was, k, truncated) {
			c.report(prefix+"committed offset decreased", "partition %d, from %d at %s to %d at %s", k.Partition, was.Offset,
				clock(was.Time), k.Offset, clock(k.Time))
		}
		if r, early := c.passedEarly(k, truncated[k.Partition]); early && !k.Operator {
			c.report(prefix+"committed before it was delivered", "commit %d of partition %d at %s passes event %d, offset %d",
				k.Offset, k.Partition, clock(k.Time), r.Number, r.Offset)
		}
		last[k.Partition] = k
	}
}

// passedEarly returns a record that a commit passed too early, and reports whether there is one.
// While the log has two versions, a commit is early only if it passed a record too early in both.
// If truncated is set, commits already follow the truncated log, so only the second version
// matters.
func (c *checker) passedEarly(k Commit, truncated bool) (r Record, early bool) {
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

// allowDecrease reports whether commit k may decrease the previously committed offset. If an
// operator made the previous commit, k may decrease the offset, but not below the offset from which
// the group must continue. One decrease is also allowed after a lagging replica is elected, but not
// below the first lost record. In that case, allowDecrease marks the partition as truncated.
func (c *checker) allowDecrease(was, k Commit, truncated map[int32]bool) bool {
	if was.Operator {
		return k.Offset >= c.From[k.Partition]
	}
	at, unclean := c.Unclean[k.Partition]
	if !unclean || truncated[k.Partition] || k.Time.Before(at.Truncate(time.Millisecond)) ||
		k.Offset < c.firstLost(k.Partition) {
		return false
	}
	truncated[k.Partition] = true
	return true
}

// firstLost returns the offset of a partition's first lost record, or the constant never if no
// record was lost.
func (c *checker) firstLost(partition int32) int64 {
	for _, r := range c.logs[partition][0].records {
		if !r.Lost.IsZero() {
			return r.Offset
		}
	}
	return never
}

// checkCuts checks that a cut at the end of a range with events stays in every commit until the
// committed offset reaches the cut. prefix is prepended to the reported invariants.
func (c *checker) checkCuts(prefix string, commits []Commit) {
	last, truncated := map[int32]Commit{}, map[int32]time.Time{}
	for _, k := range commits {
		was := last[k.Partition] // zero if there is no previous commit
		from := was.Offset
		for _, cut := range was.Cuts {
			if cut > k.Offset && !slices.Contains(k.Cuts, cut) && c.hasEvents(k.Partition, from, cut) &&
				!c.allowForget(k, cut, truncated) {
				c.report(prefix+"cut forgotten", "commit %d of partition %d at %s omits %d, which was in the commit at %s",
					k.Offset, k.Partition, clock(k.Time), cut, clock(was.Time))
			}
			from = cut
		}
		last[k.Partition] = k
	}
}

// allowForget reports whether a commit may omit a cut. After a lagging replica is elected, one
// commit may omit cuts beyond the first lost record. allowForget marks the partition as truncated
// at the time of that commit.
func (c *checker) allowForget(k Commit, cut int64, truncated map[int32]time.Time) bool {
	at, unclean := c.Unclean[k.Partition]
	if before, known := truncated[k.Partition]; !unclean || known && before != k.Time ||
		k.Time.Before(at.Truncate(time.Millisecond)) || cut <= c.firstLost(k.Partition) {
		return false
	}
	truncated[k.Partition] = k.Time
	return true
}

//go:build linux

package chaos

import (
	"slices"
	"sort"
	"time"
)

// brokersSlow reports whether the brokers were slow to acknowledge a record during an absence, for
// example on an overloaded machine. In that case, the takeover time cannot be judged.
func (c *checker) brokersSlow(gone Absence) bool {
	return slices.ContainsFunc(c.Produced, func(r Record) bool {
		return r.Sent.Before(gone.Deadline) && r.Acked.After(gone.From) && r.Acked.Sub(r.Sent) > slowAck
	})
}

// slowAck is the duration above which an acknowledgment counts as slow.
const slowAck = 500 * time.Millisecond

// checkTakeovers checks that requests with events from every partition arrive in the second half of
// each absence. By then, no request can come from the missing member. A request qualifies even if
// LaunchDarkly rejects it or ignores it as a duplicate.
func (c *checker) checkTakeovers() {
	for _, r := range c.Requests {
		if len(r.Numbers) > 0 {
			p := c.byNumber[r.Numbers[0]].Partition
			c.sentAt[p] = append(c.sentAt[p], r.Arrived)
		}
	}
	for _, times := range c.sentAt {
		slices.SortFunc(times, time.Time.Compare)
	}
	for _, gone := range c.Gone {
		if c.brokersSlow(gone) {
			continue
		}
		c.judged++
		half := gone.From.Add(gone.Deadline.Sub(gone.From) / 2)
		for partition, times := range c.sentAt {
			if times[0].After(gone.From) {
				continue // nothing sent before the absence, so the group might not know the partition
			}
			i := sort.Search(len(times), func(i int) bool { return times[i].After(half) })
			if i == len(times) || times[i].After(gone.Deadline) {
				c.report("not taken over in time",
					"partition %d: nothing sent from %s to %s, after a member disappeared at %s",
					partition, clock(half), clock(gone.Deadline), clock(gone.From))
			}
		}
	}
}

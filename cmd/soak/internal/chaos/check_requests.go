//go:build linux

package chaos

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"sort"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// checkBodies checks that each payload ID has only one body and that LaunchDarkly reported no
// violations.
func (c *checker) checkBodies() {
	first := map[string]ldtest.Hash{}
	for _, r := range c.Requests {
		for _, f := range r.Faults {
			c.report("violation reported by LaunchDarkly", "payload ID %s: %s", r.ID, f)
		}
		if r.Hash == (ldtest.Hash{}) {
			continue
		}
		if h, known := first[r.ID]; known && h != r.Hash {
			c.report("two bodies", "payload ID %s, second body at %s", r.ID, clock(r.Arrived))
		}
		first[r.ID] = r.Hash
	}
}

// checkRanges checks that each request contains all or part of the events in a range recorded by an
// earlier commit.
func (c *checker) checkRanges() {
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
			c.findRange(&c.Requests[i])
		}
	}
}

// findRange finds the recorded range that contains a request's events and stores it in r.
func (c *checker) findRange(r *Request) {
	first := c.byNumber[r.Numbers[0]]
	for _, n := range r.Numbers {
		record, known := c.byNumber[n]
		if !known {
			c.report("sent but never produced", "event %d in request %s", n, r.ID)
			return
		}
		if record.Partition != first.Partition {
			c.report("partitions mixed", "payload ID %s: partitions %d and %d", r.ID, first.Partition, record.Partition)
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
	c.report("sent before its cut was committed", "payload ID %s at %s: %d events from offset %d of partition %d", r.ID,
		clock(r.Arrived), len(r.Numbers), first.Offset, first.Partition)
}

// remaining yields each list of a range's events that a request might contain at a given time.
// Events that Kafka had deleted by then are missing unless the member had already read them.
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

// isPart reports whether numbers is a whole batch, one of its halves, a half of a half, and so on.
// Rejected batches are resent in such parts.
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

// checkClean checks that no request or dead letter was sent twice, except for requests rejected by
// LaunchDarkly.
func (c *checker) checkClean() {
	sent := map[string]bool{} // by payload ID; false after a rejection
	for _, r := range c.Requests {
		if sent[r.ID] {
			c.report("sent twice in a clean run", "payload ID %s at %s", r.ID, clock(r.Arrived))
		}
		sent[r.ID] = r.Status != http.StatusBadRequest && r.Status != http.StatusRequestEntityTooLarge
	}
	if c.repeats > 0 {
		c.report("dead letters written twice in a clean run", "%d", c.repeats)
	}
}

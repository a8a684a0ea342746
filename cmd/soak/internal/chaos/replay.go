//go:build linux

package chaos

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer/model"
)

// replayed is the text reported for a step that the model does not allow.
const replayed = "not allowed by the model"

// replay feeds each partition's observed steps to the commit protocol model, which must allow every
// step. checkRanges must run first.
//
// A partition is skipped if undelivered records were deleted from it, because the model does not
// support retention.
func (c *checker) replay() {
	for _, partition := range slices.Sorted(maps.Keys(c.logs)) {
		if !c.deletedAhead(partition) {
			c.replayPartition(partition)
		}
	}
}

// deletedAhead reports whether a partition's first records were deleted before delivery.
func (c *checker) deletedAhead(partition int32) bool {
	records := c.logs[partition][0].records
	return len(c.logs[partition]) == 1 && !records[0].Lost.IsZero() && records[len(records)-1].Lost.IsZero()
}

// observed is a step other than a commit.
type observed struct {
	before int // index of the first commit after this step
	at     time.Time
	feed   func(*model.Observer) error
}

// replayPartition feeds a partition's steps to the model in chronological order. Commit times are
// in whole milliseconds. Other steps in the same millisecond precede the commit, except for
// requests whose range the commit recorded.
func (c *checker) replayPartition(partition int32) {
	commits := slices.DeleteFunc(slices.Clone(c.Commits), func(k Commit) bool { return k.Partition != partition })
	millis := make([]int64, len(commits)) // ascending
	recorded := map[[2]int64]int{}        // by range: index of the commit that first recorded it
	latest := int64(0)
	for i, k := range commits {
		latest = max(latest, k.Time.UnixMilli())
		millis[i] = latest
		from := k.Offset
		for _, cut := range k.Cuts {
			if _, known := recorded[[2]int64{from, cut}]; !known {
				recorded[[2]int64{from, cut}] = i
			}
			from = cut
		}
	}
	before := func(t time.Time) int {
		return sort.Search(len(millis), func(i int) bool { return millis[i] >= t.UnixMilli() })
	}

	var steps []observed
	for _, r := range c.Requests {
		if r.Partition != partition || r.Next == 0 {
			continue // other partition, or findRange reported a missing range
		}
		step := observed{before(r.Arrived), r.Arrived, func(o *model.Observer) error { return o.Request(c.modelRequest(r)) }}
		if i := recorded[[2]int64{r.First, r.Next}]; i >= step.before {
			step.before = i + 1
		}
		steps = append(steps, step)
	}
	for _, l := range c.Letters {
		if l.Partition == partition && KindOf(l.Number) == Poisoned {
			steps = append(steps, observed{before(l.Time), l.Time, func(o *model.Observer) error {
				o.DeadLetter(partition, l.Offset)
				return nil
			}})
		}
	}
	elected, unclean := c.Unclean[partition]
	if unclean {
		steps = append(steps, observed{before(elected), elected, func(o *model.Observer) error {
			o.Truncated(partition, c.firstLost(partition))
			return nil
		}})
	}
	slices.SortStableFunc(steps, func(a, b observed) int {
		return cmp.Or(cmp.Compare(a.before, b.before), a.at.Compare(b.at))
	})

	o := model.NewObserver(c.countable)
	feed := func(at time.Time, step func(*model.Observer) error) {
		c.steps++
		if err := step(o); err != nil {
			c.report(replayed, "at %s: %v", clock(at), err)
		}
	}
	truncated := followedDown(commits, elected)
	for i, k := range commits {
		for len(steps) > 0 && steps[0].before <= i {
			feed(steps[0].at, steps[0].feed)
			steps = steps[1:]
		}
		if k.Operator {
			o.Reset(partition)
			continue
		}
		log := 0
		if unclean && i >= truncated {
			log = 1
		}
		feed(k.Time, func(o *model.Observer) error {
			return o.Commit(model.Commit{Partition: partition, Log: log, Offset: k.Offset, Cuts: k.Cuts})
		})
	}
	for _, s := range steps {
		feed(s.at, s.feed)
	}
}

// modelRequest converts a request to the model's type. The Log field is the log version in which
// findRange found the range.
func (c *checker) modelRequest(r Request) model.Request {
	m := model.Request{
		Partition: r.Partition, Log: r.version, ID: r.ID, Body: binary.BigEndian.Uint64(r.Hash[:]), Accepted: r.Accepted,
	}
	for _, n := range r.Numbers {
		m.Offsets = append(m.Offsets, c.byNumber[n].Offset)
	}
	return m
}

// countable reports whether a log version has a record at an offset that contains an event to be
// sent to LaunchDarkly.
func (c *checker) countable(partition int32, log int, offset int64) bool {
	records := c.logs[partition][log].records
	i := sort.Search(len(records), func(i int) bool { return records[i].Offset >= offset })
	if i == len(records) || records[i].Offset != offset || offset < c.From[partition] {
		return false
	}
	kind := KindOf(records[i].Number)
	return kind == Delivered || kind == Poisoned
}

// followedDown returns the index of the first commit that reflects the truncated log. Among the
// commits since the lagging replica was elected, this is the last that decreases the offset or, if
// none does, the first.
func followedDown(commits []Commit, elected time.Time) int {
	elected = elected.Truncate(time.Millisecond)
	first := sort.Search(len(commits), func(i int) bool { return !commits[i].Time.Before(elected) })
	for i := len(commits) - 1; i > first; i-- {
		if commits[i].Offset < commits[i-1].Offset {
			return i
		}
	}
	return first
}

package consumer

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// state is what the consumer knows of itself beside its partitions. It is guarded
// by Consumer.mu.
type state struct {
	joined       bool // the group has let us in
	leaving      bool // Run is about to return
	lastPoll     time.Time
	lastCommit   time.Time         // successful
	failingSince time.Time         // the first failed commit since; zero if there is none
	problems     map[string]string // by what is wrong, until it is solved
}

// Status is a snapshot of a consumer.
type Status struct {
	Joined     bool
	Leaving    bool
	LastPoll   time.Time         // zero before the first
	LastCommit time.Time         // zero before the first
	Problems   []string          // what an operator should look at, in words
	Partitions []PartitionStatus // by topic and number
}

// PartitionStatus is a snapshot of an assigned partition.
type PartitionStatus struct {
	Topic     string
	Partition int32
	Watermark int64         // first offset that is not delivered
	Committed int64         // last committed offset
	End       int64         // last stable offset, -1 if not known yet
	Lag       int64         // End - Watermark, at least 0
	InFlight  int           // sealed batches that are not finished
	Bytes     int           // of them
	Age       time.Duration // of the oldest of them; 0 if there is none
}

// Status returns a snapshot.
func (c *Consumer) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Joined: c.state.joined, Leaving: c.state.leaving, LastPoll: c.state.lastPoll, LastCommit: c.state.lastCommit,
		Problems: slices.Sorted(maps.Values(c.state.problems)),
	}
	for _, p := range c.partitions {
		ps := PartitionStatus{
			Topic: p.topic, Partition: p.number, Watermark: p.window.watermark(), Committed: p.committed.offset,
			End: p.end, InFlight: len(p.window.entries), Bytes: p.window.bytes,
		}
		ps.Lag = max(ps.End-ps.Watermark, 0)
		if len(p.window.entries) > 0 {
			ps.Age = time.Since(p.window.entries[0].opened)
		}
		s.Partitions = append(s.Partitions, ps)
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return s
}

// touch changes the state.
func (c *Consumer) touch(change func(*state)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
}

// problem notes what is wrong, until solved, and logs it when it is new.
func (c *Consumer) problem(what, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.problems[what] != text {
		c.state.problems[what] = text
		c.log.Error(text)
	}
}

// solved ends a problem.
func (c *Consumer) solved(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text, ok := c.state.problems[what]; ok {
		delete(c.state.problems, what)
		c.log.Info("solved", zap.String("problem", text))
	}
}

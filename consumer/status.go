package consumer

import (
	"cmp"
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Status is a snapshot of a consumer.
type Status struct {
	Joined     bool                     // the consumer is a member of the group
	Leaving    bool                     // Run is about to return
	LastPoll   time.Time                // zero before the first poll
	LastCommit time.Time                // last successful commit; zero before the first
	Records    int64                    // records mapped since the consumer was created
	Calls      [transform.Reasons]int64 // calls of these records, by reason
	Problems   []string                 // conditions that an operator should look at
	Partitions []PartitionStatus        // sorted by topic and partition
}

// PartitionStatus is a snapshot of an assigned partition.
type PartitionStatus struct {
	Topic     string
	Partition int32
	Watermark int64         // first offset that is not delivered
	Committed int64         // last committed offset
	End       int64         // last known end offset (last stable offset); negative if unknown
	Lag       int64         // offsets between Watermark and End
	InFlight  int           // sealed batches that are not finished
	Bytes     int           // size of these batches
	Age       time.Duration // age of the oldest of these batches; 0 if there is none
}

// Status returns a snapshot.
func (c *Consumer) Status() Status {
	s := c.health.status()
	s.Records = c.metrics.records.Load()
	for reason := range s.Calls {
		s.Calls[reason] = c.metrics.calls[reason].Load()
	}
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current == nil {
		return s
	}
	for _, p := range current.all() {
		s.Partitions = append(s.Partitions, p.status())
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return s
}

// status returns a snapshot of the partition.
func (p *partition) status() PartitionStatus {
	w, end := p.window.status(), p.end.last()
	s := PartitionStatus{
		Topic: p.topic, Partition: p.partition, Watermark: w.watermark, Committed: w.stored,
		End: end, InFlight: w.batches, Bytes: w.bytes,
	}
	if s.Lag = end - w.watermark; s.Lag < 0 { // the log was truncated, which the client has not reported yet
		s.Lag = -s.Lag
	}
	if !w.opened.IsZero() {
		s.Age = time.Since(w.opened)
	}
	return s
}

// queued returns the size of the records that were polled and are not mapped yet.
func (c *Consumer) queued() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return 0
	}
	return c.current.poller.queued.Load()
}

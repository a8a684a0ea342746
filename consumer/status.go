package consumer

import (
	"cmp"
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Status is a snapshot of a consumer's state.
type Status struct {
	Joined     bool                     // the consumer is a member of the group
	Leaving    bool                     // Run is stopping
	LastPoll   time.Time                // when the poll loop last polled or waited for memory; zero if never
	LastCommit time.Time                // last successful commit; zero before the first
	Records    int64                    // records mapped since the consumer was created
	Calls      [transform.Reasons]int64 // calls in these records, by reason
	Lost       int64                    // offsets deleted by retention before they were read
	Problems   []string                 // conditions that an operator should look at
	Rejects    []RejectedCalls          // calls rejected by the mapping; one entry per reason, largest count first
	Partitions []PartitionStatus        // sorted by topic and partition
}

// PartitionStatus is a snapshot of an assigned partition's state.
type PartitionStatus struct {
	Topic     string
	Partition int32
	Watermark int64         // first undelivered offset
	Committed int64         // last committed offset
	End       int64         // latest known end offset (last stable offset); negative if unknown
	Until     int64         // where reading ends, in a run with Config.Until; otherwise math.MaxInt64
	Lag       int64         // number of offsets between Watermark and End
	InFlight  int           // number of unfinished sealed batches
	Bytes     int           // bytes held by these batches and their dead letters
	Age       time.Duration // time since the oldest of these batches was opened; 0 if there are none

	// Oldest is the timestamp of the oldest undelivered record, even while the partition is paused
	// and nothing can be delivered. Filtered records do not count once they have been mapped.
	// Oldest is zero if every record has been delivered, if the oldest undelivered record has no
	// timestamp, and while that record is being fetched and mapped. If that record stays unread,
	// watcher.readOldest sets Oldest within about 30 seconds.
	Oldest time.Time
	// Deletable is the earliest time at which retention.ms allows Kafka to delete the oldest
	// undelivered record. Kafka deletes whole segments, so it usually deletes the record later.
	// However, retention.bytes can cause an earlier deletion. Deletable is zero if Oldest is zero,
	// if the topic does not delete records by age, or if its configuration is unknown; see
	// topics.retention.
	Deletable time.Time
}

// Status returns a snapshot of the consumer's state.
func (c *Consumer) Status() Status {
	s := c.health.status()
	s.Records, s.Lost, s.Rejects = c.metrics.records.Load(), c.metrics.lost.Load(), c.rejects.status()
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
		status := p.status()
		if retention := current.topics.retention(p.topic); retention > 0 && !status.Oldest.IsZero() {
			status.Deletable = status.Oldest.Add(retention)
		}
		s.Partitions = append(s.Partitions, status)
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return s
}

// status returns a snapshot of the partition's state.
func (p *partition) status() PartitionStatus {
	w, end := p.window.status(), p.end.last()
	s := PartitionStatus{
		Topic: p.topic, Partition: p.partition, Watermark: w.watermark, Committed: w.stored,
		End: end, Until: p.until, InFlight: w.batches, Bytes: w.bytes,
	}
	if s.Lag = end - w.watermark; s.Lag < 0 { // the log was truncated, but the client has not reported it yet
		s.Lag = -s.Lag
	}
	if !w.opened.IsZero() {
		s.Age = time.Since(w.opened)
	}
	oldest := w.recordTime
	if w.batches == 0 {
		oldest = p.unsealed.from(w.watermark)
	}
	if oldest.UnixMilli() >= 0 { // records without a timestamp have -1
		s.Oldest = oldest
	}
	return s
}

// queued returns the size in bytes of polled but unmapped records, excluding paused partitions.
func (c *Consumer) queued() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return 0
	}
	return c.current.poller.queued.Load()
}

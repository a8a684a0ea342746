package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// poller runs a session's poll loop.
type poller struct {
	*session
	fetched *fetchBudget
	queued  atomic.Int64 // bytes in the record queues of unpaused partitions
}

// run distributes polled records to their partitions until ctx is done or the session ends. A
// rebalance waits until a poll's records are distributed. Distribution must therefore never wait
// for a delivery, or the group would remove the member.
func (s *poller) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	for s.waitToPoll(ctx) {
		// Bound each poll, so that the loop continues even if all partitions are paused.
		pollCtx, cancel := context.WithTimeout(ctx, time.Second)
		fetches := s.client.PollRecords(pollCtx, pollRecords)
		waited := pollCtx.Err() != nil
		cancel()
		fetches.EachTopic(func(t kgo.FetchTopic) {
			t.EachPartition(func(p kgo.FetchPartition) { s.distribute(t, p) })
		})
		s.client.AllowRebalance()
		if s.client.BufferedFetchRecords() == 0 {
			s.fetched.reset()
		}
		// Back off, because the client repeats some errors on every poll.
		if !waited && fetches.NumRecords() == 0 && len(fetches.Errors()) > 0 {
			select {
			case <-time.After(pollBackoff):
			case <-ctx.Done():
			}
		}
	}
}

// waitToPoll waits until another poll may start, and reports false if ctx is done first. If records
// are queued, waitToPoll waits until they use less than maxQueued bytes and fit within the unused
// budget, because mapping turns them into request bodies. Meanwhile, it pauses partitions that make
// no progress, whose records then no longer count.
//
// If no records are queued, waitToPoll waits for free memory only while sealed batches and dead
// letters use at least half of the budget. Sealed batches and dead letters are freed without
// another poll. Open ranges alone do not block polling, because a range may need more records to
// reach a recorded cut.
func (s *poller) waitToPoll(ctx context.Context) bool {
	for {
		s.health.recordPoll()
		budget := s.memory.budget
		room, queued := budget.Room(), s.queued.Load()
		used, limit := budget.Used(), budget.Limit()
		wait := 10 * time.Millisecond
		switch {
		case queued >= maxQueued, queued > 0 && used+queued >= limit:
			for _, p := range s.all() {
				p.queue.pauseIfStuck()
			}
			room = nil
		case used >= limit && s.memory.crowded():
			wait = time.Second
		default:
			return ctx.Err() == nil
		}
		select {
		case <-time.After(wait):
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}

// distribute pushes a partition's polled records into its queue.
func (s *poller) distribute(t kgo.FetchTopic, f kgo.FetchPartition) {
	name := topicPartition{t.Topic, f.Partition}
	if f.Err != nil {
		s.onPollError(name, f.Err)
	}
	if len(f.Records) == 0 {
		return
	}
	if id := s.ids[t.Topic]; t.TopicID != (topicID{}) && id != (topicID{}) && t.TopicID != id {
		s.end(endTopics, fmt.Errorf("topic %s: %w", t.Topic, errRecreated))
		return
	}
	p := s.owned(name)
	if p == nil { // the session has ended; a revoke would have waited for AllowRebalance
		return
	}
	p.end.setFetched(f.LastStableOffset)
	s.health.resolve(pollSubject(name))
	c := chunk{records: f.Records, logStart: f.LogStartOffset}
	for _, r := range f.Records {
		c.bytes += len(r.Key) + len(r.Value) + recordOverhead
	}
	p.queue.push(c)
}

// recordOverhead is a record's approximate memory use in bytes, excluding its key and value.
const recordOverhead = 256

// pollSubject returns the problem subject for errors while reading a partition.
func pollSubject(name topicPartition) string { return "read " + name.String() }

// onPollError counts a poll error, and then reports it as a problem or ends the session. A batch
// over the fetch budget is no problem, because the client fetches it again. A member that catches up
// on several brokers can use up the budget repeatedly.
func (s *poller) onPollError(name topicPartition, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	s.metrics.pollErrors.Inc()
	if errors.Is(err, errFetchBudget) {
		return
	}
	if loss, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		s.log.Error("log truncated below the read position; rewinding",
			zap.String("topic", name.topic), zap.Int32("partition", name.partition),
			zap.Int64("offset", loss.ConsumedTo), zap.Int64("next_offset", loss.ResetTo))
		s.end(endTruncated, err)
		return
	}
	switch {
	case name.topic == "": // a group error
		s.health.report(subjectGroup, cannotJoin(err))
	case name.partition < 0: // a topic error; watcher resolves the problem
		s.topics.report(kindTopic, name.topic, err, Advice)
	case s.owned(name) == nil: // a failed offset fetch; onOffsetsFetched ends the session
	default:
		s.health.report(pollSubject(name), problem{
			message: "cannot read partition",
			text:    "cannot read " + name.String() + ": " + err.Error(), advice: Advice(err),
			fields: []zap.Field{
				zap.String("topic", name.topic), zap.Int32("partition", name.partition), zap.Error(err),
			},
		})
	}
}

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

// poller is a session's loop over the client's polls.
type poller struct {
	*session
	fetched *fetchBudget
	queued  atomic.Int64 // bytes of the record queues, except those of paused partitions
}

// run hands polled records to their partitions until ctx is done or the session ends. A rebalance waits
// only while that is done, never for a delivery: that would get the member removed.
func (s *poller) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	for s.mayPoll(ctx) {
		// Everything may be paused, so a poll must not wait indefinitely.
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
		if !waited && fetches.NumRecords() == 0 && len(fetches.Errors()) > 0 { // the client repeats some errors as fast as it is polled
			select {
			case <-time.After(pollBackoff):
			case <-ctx.Done():
			}
		}
	}
}

// mayPoll waits while there is enough to do already: records that were polled and not mapped, or
// bodies that use up the budget, of which those records will become more. It returns false when ctx
// is done.
//
// It waits for the budget only while much of it can be freed without a poll, by sealed batches and
// dead letters: what is open may wait for records up to a recorded cut. Partitions that make no
// progress are paused, and what they hold no longer counts.
func (s *poller) mayPoll(ctx context.Context) bool {
	for {
		s.health.polled()
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

// distribute hands a partition what was polled of it.
func (s *poller) distribute(t kgo.FetchTopic, f kgo.FetchPartition) {
	name := topicPartition{t.Topic, f.Partition}
	if f.Err != nil {
		s.pollError(name, f.Err)
	}
	if len(f.Records) == 0 {
		return
	}
	if id := s.ids[t.Topic]; t.TopicID != (topicID{}) && id != (topicID{}) && t.TopicID != id {
		s.end(endTopics, fmt.Errorf("topic %s: %w", t.Topic, errRecreated))
		return
	}
	p := s.owned(name)
	if p == nil { // the session has ended: a rebalance waits for AllowRebalance
		return
	}
	p.end.fetched(f.LastStableOffset)
	s.health.resolve(pollSubject(name))
	c := chunk{records: f.Records, logStart: f.LogStartOffset}
	for _, r := range f.Records {
		c.bytes += len(r.Key) + len(r.Value) + recordOverhead
	}
	p.queue.push(c)
}

// recordOverhead is about what a record takes in addition to its key and value.
const recordOverhead = 256

// pollSubject is the subject of problems with reading a partition.
func pollSubject(name topicPartition) string { return "read " + name.String() }

// pollError counts an error of polling, and reports it or ends the session.
func (s *poller) pollError(name topicPartition, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	s.metrics.pollErrors.Inc()
	if loss, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		s.log.Error("the brokers lost records at the end of the log", zap.String("topic", name.topic), zap.Int32("partition", name.partition),
			zap.Int64("offset", loss.ConsumedTo), zap.Int64("next_offset", loss.ResetTo))
		s.end(endTruncated, err)
		return
	}
	switch {
	case name.topic == "": // of the group, not of a partition
		s.health.report(subjectGroup, "cannot take part in the group: "+advise(err))
	case name.partition < 0: // of the topic: watchTopics looks at it too, and sees when it is resolved
		s.topics.report("topic", name.topic, err, advise)
	case s.owned(name) == nil: // of a partition whose offset could not be fetched: that ends the session
	default:
		s.health.report(pollSubject(name), "cannot read "+name.String()+": "+advise(err))
	}
}

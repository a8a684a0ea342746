package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// A commit is a write-ahead log entry: it stores the watermark and the cuts beyond
// it, and only what it has stored is posted. One commit is in flight at a time and
// carries all partitions that changed, so its cost is shared; sealing goes on
// meanwhile, so its latency is hidden.

// commitLoop commits until ctx is done: at once when a sealed batch waits for it,
// else every commitInterval.
func (c *Consumer) commitLoop(ctx context.Context) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	for attempt := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.urgent:
		case <-tick.C:
			c.markIdle()
		}
		stored, err := c.commit(ctx)
		if err == nil || stored > 0 { // a partition that fails, with others that do not, waits for the next commit
			attempt = 0
			continue
		}
		// What failed is tried again with newer state. The client has retried
		// what can be retried at once.
		attempt++
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(100*time.Millisecond<<min(attempt, 5), commitInterval)):
			c.hurry()
		}
	}
}

// hurry asks for a commit now.
func (c *Consumer) hurry() {
	select {
	case c.urgent <- struct{}{}:
	default:
	}
}

// mark notes that a partition's state is to be committed. The caller holds mu.
func (c *Consumer) mark(p *partition) {
	if !p.fenced {
		c.dirty[p] = struct{}{}
	}
}

// markIdle marks the partitions whose last commit is old.
func (c *Consumer) markIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.partitions {
		if time.Since(p.lastCommit) >= refresh {
			c.mark(p)
		}
	}
}

// commit commits what changed and posts what has thereby been recorded. It returns
// the number of partitions that were committed.
func (c *Consumer) commit(ctx context.Context) (stored int, err error) {
	c.commitMu.Lock()
	defer c.commitMu.Unlock()
	c.mu.Lock()
	snapshots := make(map[*partition]snapshot, len(c.dirty))
	for p := range c.dirty {
		snapshots[p] = p.window.snapshot()
	}
	clear(c.dirty)
	c.mu.Unlock()
	return c.store(ctx, snapshots)
}

// commitFinally commits the state of partitions before they are given up, and tries
// again until ctx is done. The caller holds commitMu.
func (c *Consumer) commitFinally(ctx context.Context, partitions []*partition) error {
	for {
		snapshots := map[*partition]snapshot{}
		c.mu.Lock()
		for _, p := range partitions {
			if s := p.window.snapshot(); !p.fenced && (s.offset != p.committed.offset || s.metadata != p.committed.metadata) {
				snapshots[p] = s
			}
		}
		leaving := c.state.leaving
		c.mu.Unlock()
		_, err := c.store(ctx, snapshots)
		again := repeatable(err) || leaving && errors.Is(err, kerr.IllegalGeneration) // the client joins meanwhile
		if err == nil || ctx.Err() != nil || !again {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// store sends one commit and applies it: partitions that failed are dirty again. It
// returns the number of the others. The caller holds commitMu.
func (c *Consumer) store(ctx context.Context, snapshots map[*partition]snapshot) (stored int, err error) {
	if len(snapshots) == 0 {
		return 0, nil
	}
	started := time.Now()
	failed, err := c.send(ctx, snapshots)
	c.metrics.commitDuration.Observe(time.Since(started).Seconds())

	var recorded []*posting
	var expelled []*partition
	c.mu.Lock()
	for p, s := range snapshots {
		switch e := failed[topicPartition{p.topic, p.number}]; {
		case errors.Is(e, errExpelled): // a drain would wait in vain: nothing of it can be recorded, and so posted
			c.fence(p)
			expelled = append(expelled, p)
		case err == nil && e == nil:
			stored++
			p.anchored, p.committed, p.lastCommit = true, s, started
			recorded = append(recorded, c.record(p, s)...)
		default:
			c.mark(p)
		}
	}
	c.mu.Unlock()
	for _, r := range recorded {
		c.cfg.Sink.Deliver(r.p.ctx, sink.Delivery{Batch: r.e.batch, Until: r.p.attempts, Refused: c.refused, Done: func(err error) { c.posted(r.p, r.e, err) }})
	}

	for name, e := range failed {
		if err == nil {
			err = fmt.Errorf("topic %s, partition %d: %w", name.topic, name.partition, e)
		}
	}
	if len(expelled) > 0 {
		c.beside.Go(func() { // not from here: it ends in a callback that waits for this commit
			c.abandon(expelled)
			c.startOver(c.cfg.Topics...)
		})
	}
	c.told(ctx, err)
	return stored, err
}

// told tells of a commit's result. What passes by itself, as it does while the group
// rebalances, is a problem only when it stays.
func (c *Consumer) told(ctx context.Context, err error) {
	switch {
	case err == nil:
		c.metrics.commits.WithLabelValues(resultOK).Inc()
		c.touch(func(s *state) { s.lastCommit, s.failingSince = time.Now(), time.Time{} })
		c.solved("commit")
	case ctx.Err() == nil:
		c.metrics.commits.WithLabelValues(resultError).Inc()
		var failing time.Duration
		c.touch(func(s *state) {
			if s.failingSince.IsZero() {
				s.failingSince = time.Now()
			}
			failing = time.Since(s.failingSince)
		})
		if !passing(err) || failing > commitPatience {
			c.problem("commit", fmt.Sprintf("cannot commit, and posting waits for it: %s", advise(err)))
		}
	}
}

// commitPatience is how long commits may fail for reasons that pass by themselves.
const commitPatience = 15 * time.Second

// passing says whether an error of a commit passes by itself.
func passing(err error) bool {
	return repeatable(err) || errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, errExpelled)
}

// repeatable says whether the same commit may succeed soon: no broker has answered,
// or one that says so.
func repeatable(err error) bool {
	if _, answered := errors.AsType[*kerr.Error](err); !answered {
		return !errors.Is(err, errExpelled)
	}
	return kerr.IsRetriable(err) || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.StaleMemberEpoch)
}

// posting is a batch whose cut has just been recorded.
type posting struct {
	p *partition
	e *entry
}

// record notes which cuts a commit holds and returns what may be posted now. The
// caller holds mu.
func (c *Consumer) record(p *partition, s snapshot) (now []*posting) {
	if p.fenced || p.attempts.Err() != nil {
		return nil
	}
	for _, e := range s.recorded {
		if !e.recorded {
			e.recorded = true
			if e.batch != nil {
				p.deliveries++
				now = append(now, &posting{p, e})
			}
		}
	}
	return now
}

// send makes one commit request and returns the partitions that it failed for.
//
// It does not use the client's own commit, because that waits while the client joins
// the group, which lasts as long as the slowest member takes to give partitions up;
// the broker takes commits meanwhile. The broker refuses a commit of an older
// generation, which is what fences a member that was thrown out.
func (c *Consumer) send(ctx context.Context, snapshots map[*partition]snapshot) (failed map[topicPartition]error, err error) {
	member, generation := c.client.GroupMetadata()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = c.cfg.Group, member, generation
	if c.cfg.InstanceID != "" {
		request.InstanceID = &c.cfg.InstanceID
	}
	topics := map[string]*kmsg.OffsetCommitRequestTopic{}
	names := map[[16]byte]string{}
	failed = make(map[topicPartition]error, len(snapshots)) // what is not answered has failed
	for p, s := range snapshots {
		failed[topicPartition{p.topic, p.number}] = errUnanswered
		if p.member != member || generation < 0 {
			failed[topicPartition{p.topic, p.number}] = errExpelled
			continue
		}
		t := topics[p.topic]
		if t == nil {
			t = new(kmsg.NewOffsetCommitRequestTopic())
			t.Topic, t.TopicID = p.topic, p.source.TopicID
			topics[p.topic], names[t.TopicID] = t, p.topic
		}
		metadata := s.metadata + topicMark(p.source.TopicID)
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p.number, s.offset, s.epoch, &metadata
		t.Partitions = append(t.Partitions, part)
	}
	if len(topics) == 0 {
		return failed, nil
	}
	for _, t := range topics {
		request.Topics = append(request.Topics, *t)
	}
	response, err := request.RequestWith(ctx, c.client)
	if err != nil {
		return failed, err
	}
	for _, t := range response.Topics {
		name := t.Topic
		if name == "" { // from version 10 on, the broker names topics by ID
			name = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			if failed[topicPartition{name, p.Partition}] = kerr.ErrorForCode(p.ErrorCode); p.ErrorCode == 0 {
				delete(failed, topicPartition{name, p.Partition})
			}
		}
	}
	return failed, nil
}

// errExpelled means that a partition was assigned to a member that we no longer are:
// the group threw us out and let us in again, and the client, when it notices only
// while it joins, calls nobody. Others may have owned the partition in between.
var errExpelled = errors.New("the group has thrown out the member that the partition was assigned to")

var errUnanswered = errors.New("the broker did not answer for it")

// raise publishes a partition's floor, behind which nothing is open, and the cuts
// that are still to come.
func (c *Consumer) raise(p *partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.window.floor, p.window.epoch, p.window.cuts = p.floor, p.floorEpoch, p.cuts
	c.mark(p)
}

// push adds a sealed entry to a partition's window and has it recorded.
func (c *Consumer) push(p *partition, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.window.push(e)
	p.window.epoch, p.window.cuts = p.floorEpoch, p.cuts
	c.settle(p)
	c.hurry()
}

// hasRoom says whether a partition's window takes another entry or dead letter. Their
// number is bounded for the metadata's sake; their bytes so that partitions that are
// stuck, however many, leave half of the budget to the others: once all windows
// together hold the other half, each takes one entry at a time.
func (c *Consumer) hasRoom(p *partition) bool {
	crowded := c.unfinished() >= c.budget.Limit()/2
	c.mu.Lock()
	defer c.mu.Unlock()
	empty := p.window.bytes+p.letters == 0
	return len(p.window.entries) < maxWindow && (empty || !crowded)
}

// unfinished returns the bytes of all batches that are sealed and not delivered, and
// of all dead letters that are not written.
func (c *Consumer) unfinished() (bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.partitions {
		bytes += int64(p.window.bytes + p.letters)
	}
	return bytes
}

// posted notes what became of a batch.
func (c *Consumer) posted(p *partition, e *entry, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.deliveries--
	p.lessened()
	switch {
	case err == nil:
		e.delivered = true
		c.metrics.delay.Observe(time.Since(e.batch.Oldest).Seconds())
		e.batch = nil // behind one that is stuck, an entry may stay for long
		c.budget.Add(-e.bytes)
		p.window.bytes -= e.bytes
		e.bytes = 0
		if !p.fenced {
			c.settle(p)
		}
	case p.attempts.Err() == nil: // nothing but the end of the partition may end a delivery
		c.fail(fmt.Errorf("deliver topic %s, partition %d, offset %d: %w", p.topic, p.number, e.first, err))
		c.log.Error("a batch cannot be delivered", zap.String("topic", p.topic), zap.Int32("partition", p.number), zap.Int64("offset", e.first), zap.Error(err))
	}
}

// settle moves the watermark over what is finished. The caller holds mu.
func (c *Consumer) settle(p *partition) {
	c.budget.Add(-p.window.pop())
	c.mark(p)
	p.lessened()
}

// lessened wakes those who wait for a partition to finish. The caller holds mu.
func (p *partition) lessened() {
	close(p.changed)
	p.changed = make(chan struct{})
	select {
	case p.space <- struct{}{}:
	default:
	}
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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
		err := c.commit(ctx)
		if err == nil {
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

// commit commits what changed and posts what has thereby been recorded.
func (c *Consumer) commit(ctx context.Context) error {
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
		c.mu.Unlock()
		err := c.store(ctx, snapshots)
		if err == nil || ctx.Err() != nil || !kerr.IsRetriable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// store sends one commit and applies it: partitions that failed are dirty again.
// The caller holds commitMu.
func (c *Consumer) store(ctx context.Context, snapshots map[*partition]snapshot) error {
	if len(snapshots) == 0 {
		return nil
	}
	started := time.Now()
	failed, err := c.send(ctx, snapshots)
	c.metrics.commitDuration.Observe(time.Since(started).Seconds())

	var recorded []*posting
	c.mu.Lock()
	for p, s := range snapshots {
		name := topicPartition{p.topic, p.number}
		if err == nil && failed[name] == nil {
			p.committed, p.lastCommit = s, started
			recorded = append(recorded, c.record(p, s)...)
		} else {
			c.mark(p)
		}
	}
	c.mu.Unlock()
	for _, r := range recorded {
		c.cfg.Sink.Deliver(r.p.ctx, sink.Delivery{Batch: r.e.batch, Refused: c.refused, Done: func(err error) { c.posted(r.p, r.e, err) }})
	}

	for name, e := range failed {
		if err == nil {
			err = fmt.Errorf("topic %s, partition %d: %w", name.topic, name.partition, e)
		}
	}
	switch {
	case err == nil:
		c.metrics.commits.WithLabelValues(resultOK).Inc()
		c.touch(func(s *state) { s.lastCommit = time.Now() })
		c.solved("commit")
	case ctx.Err() == nil:
		c.metrics.commits.WithLabelValues(resultError).Inc()
		c.problem("commit", fmt.Sprintf("cannot commit, and posting waits for it: %s", advise(err)))
	}
	return err
}

// posting is a batch whose cut has just been recorded.
type posting struct {
	p *partition
	e *entry
}

// record notes which cuts a commit holds and returns what may be posted now. The
// caller holds mu.
func (c *Consumer) record(p *partition, s snapshot) (now []*posting) {
	if p.fenced || p.ctx.Err() != nil {
		return nil
	}
	for _, e := range s.recorded {
		if !e.recorded {
			e.recorded = true
			if e.batch != nil {
				p.posting++
				now = append(now, &posting{p, e})
			}
		}
	}
	return now
}

// send makes one commit request and returns the partitions that it failed for.
func (c *Consumer) send(ctx context.Context, snapshots map[*partition]snapshot) (failed map[topicPartition]error, err error) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	metadata := make(map[topicPartition]*string, len(snapshots))
	for p, s := range snapshots {
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.number] = kgo.EpochOffset{Epoch: s.epoch, Offset: s.offset}
		metadata[topicPartition{p.topic, p.number}] = &s.metadata
	}
	annotate := func(request *kmsg.OffsetCommitRequest) error {
		for _, t := range request.Topics {
			for i := range t.Partitions {
				t.Partitions[i].Metadata = metadata[topicPartition{t.Topic, t.Partitions[i].Partition}]
			}
		}
		return nil
	}
	answered := make(map[topicPartition]bool, len(snapshots))
	failed = map[topicPartition]error{}
	c.client.CommitOffsetsSync(kgo.PreCommitFnContext(ctx, annotate), offsets,
		func(_ *kgo.Client, request *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, e error) {
			if err = e; e != nil {
				return
			}
			names := make(map[[16]byte]string, len(request.Topics))
			for _, t := range request.Topics {
				names[t.TopicID] = t.Topic
			}
			for _, t := range response.Topics {
				name := t.Topic
				if name == "" { // from version 10 on, the broker names topics by ID
					name = names[t.TopicID]
				}
				for _, p := range t.Partitions {
					answered[topicPartition{name, p.Partition}] = true
					if e := kerr.ErrorForCode(p.ErrorCode); e != nil {
						failed[topicPartition{name, p.Partition}] = e
					}
				}
			}
		})
	for name := range metadata {
		if !answered[name] && failed[name] == nil {
			failed[name] = errUnanswered
		}
	}
	return failed, err
}

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

// hasRoom says whether a partition's window takes another entry: its number is
// bounded for the metadata's sake, its bytes so that one partition that is stuck
// cannot use up the budget of all.
func (c *Consumer) hasRoom(p *partition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(p.window.entries) < maxWindow && (len(p.window.entries) == 0 || int64(p.window.bytes) < c.budget.Limit()/4)
}

// sealed says whether any batch is unfinished.
func (c *Consumer) sealed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.partitions {
		if len(p.window.entries) > 0 {
			return true
		}
	}
	return false
}

// posted notes what became of a batch.
func (c *Consumer) posted(p *partition, e *entry, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.posting--; p.posting == 0 {
		signal(p.posted)
	}
	switch {
	case err == nil:
		e.delivered = true
		c.metrics.delay.Observe(time.Since(e.batch.Oldest).Seconds())
		if !p.fenced {
			c.settle(p)
		}
	case p.ctx.Err() == nil: // nothing but the end of the partition may end a delivery
		c.fail(fmt.Errorf("deliver topic %s, partition %d, offset %d: %w", p.topic, p.number, e.first, err))
		c.log.Error("a batch cannot be delivered", zap.String("topic", p.topic), zap.Int32("partition", p.number), zap.Int64("offset", e.first), zap.Error(err))
	}
}

// settle moves the watermark over what is finished. The caller holds mu.
func (c *Consumer) settle(p *partition) {
	freed := p.window.pop()
	if !p.released {
		c.budget.Add(-freed)
	}
	c.mark(p)
	signal(p.space)
	if len(p.window.entries) == 0 {
		signal(p.emptied)
	}
}

// signal puts a token into a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

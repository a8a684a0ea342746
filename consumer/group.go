package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// The client calls, for each session of the group: onRevoked with what the session
// loses, onAssigned with what it gains, onOffsetsFetched and adjustOffsets with the
// offsets of the gains. All three of assigned, revoked and lost must be set: without
// lost, nothing is called when the group throws us out.

// onAssigned only notes that the group let us in: the partitions' state starts in
// onOffsetsFetched, where the commit's metadata is at hand. The map may be empty.
func (c *Consumer) onAssigned(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
	c.touch(func(s *state) { s.joined = true })
	c.metrics.rebalances.WithLabelValues(rebalanceAssigned).Inc()
	if n := countPartitions(assigned); n > 0 {
		c.log.Info("partitions assigned", zap.Int("partitions", n), zap.Any("assigned", assigned))
	} else {
		c.solved("group") // with partitions, their offsets are still to be fetched
	}
}

// onOffsetsFetched starts the partitions that were assigned: it reads the committed
// offset and the recorded cuts, resolves where a partition without a committed
// offset starts, and commits that, so that nothing between two owners is skipped.
func (c *Consumer) onOffsetsFetched(ctx context.Context, _ *kgo.Client, response *kmsg.OffsetFetchResponse) error {
	<-c.dialed
	fetched, err := c.fetched(ctx, response)
	if err != nil {
		c.problem("assignment", "cannot start the assigned partitions: "+advise(err))
		return err
	}
	member, _ := c.client.GroupMetadata()
	started, replaced, err := c.start(fetched, member)
	if err != nil {
		return err
	}
	c.abandon(replaced)
	for _, p := range started {
		go p.run()                                                              // waited for in abandon
		c.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.number}}) // a pause survives a rebalance
	}
	if _, err := c.commit(ctx); err != nil && !c.anchored(started) {
		return fmt.Errorf("commit where the assigned partitions start: %w", err)
	}
	c.solved("assignment")
	c.solved("group")
	return nil
}

// anchored says whether all partitions have a committed offset.
func (c *Consumer) anchored(partitions []*partition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(partitions, func(p *partition) bool { return !p.anchored })
}

// start makes the state of partitions. What it replaces had its offsets fetched twice
// and has read nothing.
//
// If it has, the client has not taken it from us before it assigns it again, and may go
// on reading where it is, whatever we tell it: behind the committed offset, which
// would look like a gap in the log. The error has the client give up everything, tell
// us that it is lost, and join again.
func (c *Consumer) start(fetched []fetchedOffset, member string) (started, replaced []*partition, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range fetched {
		if old := c.partitions[f.topicPartition]; old != nil && old.inbox.used() {
			return nil, nil, fmt.Errorf("topic %s, partition %d is assigned again while it is read: joining again", f.topic, f.partition)
		}
	}
	c.starts = make(map[topicPartition]kgo.Offset, len(fetched))
	for _, f := range fetched {
		c.starts[f.topicPartition] = kgo.NewOffset().At(f.offset).WithEpoch(f.epoch)
		if c.state.leaving {
			continue
		}
		if old := c.partitions[f.topicPartition]; old != nil {
			c.fence(old)
			replaced = append(replaced, old)
		}
		p := c.newPartition(f, member)
		c.partitions[f.topicPartition] = p
		if !f.committed {
			c.mark(p)
		}
		started = append(started, p)
	}
	return started, replaced, nil
}

// adjustOffsets tells the client where to start. The partitions of a topic that does
// not exist, which the group goes on assigning, are left out until it does.
func (c *Consumer) adjustOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range offsets {
		for partition := range partitions {
			if start, ok := c.starts[topicPartition{topic, partition}]; ok {
				partitions[partition] = start
				continue
			}
			delete(partitions, partition)
			c.absent[topic] = true
		}
	}
	return offsets, nil
}

// newPartition returns the state of a partition that starts as f says.
func (c *Consumer) newPartition(f fetchedOffset, member string) *partition {
	p := &partition{
		c: c, topic: f.topic, number: f.partition, member: member,
		source: sink.Source{Group: c.cfg.Group, Topic: f.topic, TopicID: f.topicID, Partition: f.partition},
		log:    c.log.With(zap.String("topic", f.topic), zap.Int32("partition", f.partition)),
		stop:   make(chan struct{}), stopped: make(chan struct{}), space: make(chan struct{}, 1), changed: make(chan struct{}),

		transformer: c.cfg.Mapping.NewTransformer(), buffer: sink.NewBuffer(c.cfg.MaxEvents, c.cfg.MaxBytes),
		anchored: f.committed,
		next:     f.offset, epoch: f.epoch, floor: f.offset, floorEpoch: f.epoch, cuts: f.cuts,
		age: time.NewTimer(time.Hour),

		window: window{floor: f.offset, epoch: f.epoch, cuts: f.cuts},
		end:    -1,
	}
	p.age.Stop()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.attempts, p.cease = context.WithCancel(p.ctx)
	one := map[string][]int32{f.topic: {f.partition}}
	p.inbox = inbox{
		ready: make(chan struct{}, 1), queued: &c.queued,
		pause:  func() { c.client.PauseFetchPartitions(one) },
		resume: func() { c.client.ResumeFetchPartitions(one) },
	}
	return p
}

// onRevoked gives partitions up in peace: it delivers what is in flight. The map is
// empty at the end of every cooperative session.
func (c *Consumer) onRevoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	partitions := c.owned(revoked)
	if len(partitions) == 0 {
		return
	}
	c.metrics.rebalances.WithLabelValues(rebalanceRevoked).Inc()
	started := time.Now()
	if err := c.giveUp(ctx, partitions); err != nil {
		c.log.Warn("partitions given up before everything was delivered; their next owner delivers the rest, as the same batches under the same payload IDs", zap.Error(err))
	}
	c.log.Info("partitions revoked", zap.Int("partitions", len(partitions)), zap.Duration("duration", time.Since(started)))
}

// onLost gives partitions up at once: they are somebody else's already.
func (c *Consumer) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	partitions := c.owned(lost)
	c.metrics.rebalances.WithLabelValues(rebalanceLost).Inc()
	c.log.Warn("partitions lost: the group has thrown this member out", zap.Int("partitions", len(partitions)))
	c.disown(partitions)
}

// disown gives partitions up at once, without a commit.
func (c *Consumer) disown(partitions []*partition) {
	c.commitMu.Lock()
	c.mu.Lock()
	for _, p := range partitions {
		c.fence(p)
	}
	c.mu.Unlock()
	c.commitMu.Unlock()
	c.abandon(partitions)
}

// owned returns the state of partitions that we have not given up.
func (c *Consumer) owned(names map[string][]int32) []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var owned []*partition
	for topic, partitions := range names {
		for _, partition := range partitions {
			if p := c.partitions[topicPartition{topic, partition}]; p != nil {
				owned = append(owned, p)
			}
		}
	}
	return owned
}

// giveUp stops the intake of partitions, delivers what they have sealed, commits, and
// fences them. For half of Config.DrainTimeout requests start as ever. Then no more do,
// and those under way have the other half to come to their end: a request that is
// broken off may be one that the next owner sends again. What was not posted is the
// next owner's, which forms the same batches. The error says how much that is.
func (c *Consumer) giveUp(ctx context.Context, partitions []*partition) error {
	drainCtx, cancel := context.WithTimeout(ctx, c.cfg.DrainTimeout)
	defer cancel()
	startCtx, cancel := context.WithTimeout(ctx, c.cfg.DrainTimeout/2)
	defer cancel()
	for _, p := range partitions {
		p.stopOnce.Do(func() { close(p.stop) })
	}
	for _, p := range partitions {
		c.drained(startCtx, p)
	}
	for _, p := range partitions {
		p.cease()
	}
	for _, p := range partitions {
		c.wait(drainCtx, p, func() bool { return p.deliveries == 0 })
	}
	for _, p := range partitions {
		p.cancel()
	}
	c.abandon(partitions)

	// The time for the last commit comes on top: without it, what was delivered in
	// vain would be sent again.
	commitCtx, cancel := context.WithTimeout(ctx, finalCommitTimeout)
	defer cancel()
	c.commitMu.Lock()
	defer c.commitMu.Unlock()
	err := c.commitFinally(commitCtx, partitions)
	c.mu.Lock()
	defer c.mu.Unlock()
	batches, letters := 0, 0
	for _, p := range partitions {
		for _, e := range p.window.entries {
			if !e.delivered {
				batches++
			}
			letters += e.letters
		}
		c.fence(p)
	}
	left := fmt.Sprintf("%d batches were not delivered, %d dead letters not written", batches, letters)
	switch {
	case batches+letters == 0:
		return err
	case startCtx.Err() == nil:
		return errors.New(left + ": the group has given their partitions away")
	default:
		return fmt.Errorf("%s within half the drain timeout of %v", left, c.cfg.DrainTimeout)
	}
}

// finalCommitTimeout bounds the commit before partitions are given up.
const finalCommitTimeout = 10 * time.Second

// drained waits until a partition that was stopped has delivered everything.
func (c *Consumer) drained(ctx context.Context, p *partition) {
	select {
	case <-p.stopped:
	case <-ctx.Done():
		return
	}
	c.wait(ctx, p, func() bool { return len(p.window.entries) == 0 })
}

// wait waits until reached says so, which it is asked under mu; or the partition is
// given up, or ctx is done.
func (c *Consumer) wait(ctx context.Context, p *partition, reached func() bool) {
	for {
		c.mu.Lock()
		done, changed := reached(), p.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// fence makes sure that nothing of a partition is marked, committed or newly
// posted. The broker does not: it checks who commits, not what. The caller holds mu,
// and commitMu unless the partition has read nothing.
func (c *Consumer) fence(p *partition) {
	p.fenced = true
	p.cancel()
	delete(c.dirty, p)
	name := topicPartition{p.topic, p.number}
	if c.partitions[name] == p {
		delete(c.partitions, name)
		delete(c.state.problems, pollProblem(p.topic, p.number))
	}
}

// abandon waits until nothing of the partitions runs and gives back what they hold.
// Their context is done.
func (c *Consumer) abandon(partitions []*partition) {
	for _, p := range partitions {
		<-p.stopped
		c.mu.Lock()
		for p.deliveries > 0 {
			changed := p.changed
			c.mu.Unlock()
			<-changed
			c.mu.Lock()
		}
		p.inbox.close()
		c.budget.Add(-p.held - p.window.release())
		p.held = 0
		p.buffer.Reset()
		c.mu.Unlock()
	}
}

// leave leaves the group and closes the client, after all partitions were given up. The
// client would wait until the group lets in a member that is joining, for as long as
// another member takes to give its partitions up. So after a while it is cut off, and
// another client tells the group.
func (c *Consumer) leave(cut context.CancelFunc) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.client.CloseAllowingRebalance() // Close can hang behind a poll that was cancelled
	}()
	select {
	case <-closed:
		return
	case <-time.After(leaveTimeout):
	}
	member, _ := c.client.GroupMetadata()
	cut()
	<-closed
	if member == "" || c.cfg.InstanceID != "" || c.cfg.ConsumerProtocol { // a static member stays in the group
		return
	}
	other, err := kgo.NewClient(c.cfg.Client...)
	if err != nil {
		return
	}
	defer other.Close()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID = c.cfg.Group, member
	request.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
	_, _ = request.RequestWith(ctx, other) // in vain: the session times out
}

// leaveTimeout bounds each of the two ways to leave the group.
const leaveTimeout = 5 * time.Second

func countPartitions(m map[string][]int32) (n int) {
	for _, partitions := range m {
		n += len(partitions)
	}
	return n
}

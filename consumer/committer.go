package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// committer stores the windows of a session's partitions in the group. A commit is a write-ahead log
// entry: it holds the watermark and the cuts beyond it, and only batches whose cut it has stored are
// sent. One commit is in flight at a time and carries all partitions that changed, so its cost is
// shared; sealing continues meanwhile, so its latency is hidden.
//
// A commit must not be overtaken by an older one, but Kafka orders requests only within a connection:
// a commit whose connection broke may still be applied later, after newer ones of the same member and
// generation, and would take their cuts back. Therefore a commit is sent once. One that may have been
// written and was not answered ends the session; the next session has another member ID or generation,
// and the broker rejects what is still on its way.
type committer struct {
	client  *kgo.Client
	group   string
	static  *string            // instance ID; nil: dynamic member
	ids     map[string]topicID // of the session's topics
	written *atomic.Int64      // commit requests of which the client has written anything
	health  *health
	metrics *metrics
	send    func(*partition, *batch)    // sends a batch whose cut is stored
	end     func(cause string, e error) // ends the session
	urgent  chan struct{}               // capacity 1: a sealed batch waits for its commit

	// turn makes one unit of [snapshot, commit, apply] and of [last commit, fence]. It is acquired
	// before any mutex and held while the broker responds.
	turn        chanMutex
	coordinator int32 // node that coordinates the group, -1 if unknown; belongs to the holder of turn

	mu    sync.Mutex // guards the fields below
	dirty map[*partition]struct{}
}

// chanMutex is a mutex for what may take long: waiting for it ends with a context, and virtual time
// passes meanwhile, which it does not for a sync.Mutex. Its capacity is 1.
type chanMutex chan struct{}

// lock returns ctx's error if ctx is done first.
func (m chanMutex) lock(ctx context.Context) error {
	select {
	case m <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m chanMutex) unlock() { <-m }

// run commits until ctx is done: at once when a sealed batch waits for it, else every commitInterval.
// owned returns the session's partitions.
func (c *committer) run(ctx context.Context, owned func() []*partition) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	for attempt := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.urgent:
		case <-tick.C:
			c.markOld(owned())
		}
		stored, err := c.commit(ctx)
		if err == nil || stored > 0 { // a partition that fails among others that do not waits for the next commit
			attempt = 0
			continue
		}
		attempt++
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(100*time.Millisecond<<min(attempt, 5), commitInterval)):
			c.request()
		}
	}
}

// request asks run for a commit now.
func (c *committer) request() {
	select {
	case c.urgent <- struct{}{}:
	default:
	}
}

// mark notes that a partition's window is to be committed.
func (c *committer) mark(p *partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty[p] = struct{}{}
}

// markOld marks the partitions whose last commit is old, because some brokers forget the offsets of
// groups that commit nothing.
func (c *committer) markOld(partitions []*partition) {
	for _, p := range partitions {
		if time.Since(p.window.status().storedAt) >= refreshInterval {
			c.mark(p)
		}
	}
}

// commit stores what changed and sends what has thereby been recorded. It returns the number of
// partitions that were stored.
func (c *committer) commit(ctx context.Context) (stored int, err error) {
	if err := c.turn.lock(ctx); err != nil {
		return 0, err
	}
	defer c.turn.unlock()
	c.mu.Lock()
	dirty := c.dirty
	c.dirty = make(map[*partition]struct{}, len(dirty))
	c.mu.Unlock()
	snapshots := make(map[*partition]snapshot, len(dirty))
	for p := range dirty {
		if s, ok := p.window.snapshot(); ok {
			snapshots[p] = s
		}
	}
	return c.store(ctx, snapshots)
}

// commitAll stores what has changed of the given partitions, again until it succeeds, ctx is done, or
// the session ends.
func (c *committer) commitAll(ctx context.Context, partitions []*partition) error {
	if err := c.turn.lock(ctx); err != nil {
		return err
	}
	defer c.turn.unlock()
	return c.storeAll(ctx, partitions)
}

// commitLast is commitAll, after which nothing of the partitions is committed any more: it fences their
// windows before another commit can begin.
func (c *committer) commitLast(ctx context.Context, partitions []*partition) error {
	err := c.turn.lock(ctx)
	if err == nil {
		defer c.turn.unlock()
		err = c.storeAll(ctx, partitions)
	}
	for _, p := range partitions {
		p.window.fence()
	}
	return err
}

// storeAll does the work of commitAll. The caller holds turn.
func (c *committer) storeAll(ctx context.Context, partitions []*partition) error {
	for {
		snapshots := map[*partition]snapshot{}
		for _, p := range partitions {
			if s, ok := p.window.snapshot(); ok && s.changed {
				snapshots[p] = s
			}
		}
		_, err := c.store(ctx, snapshots)
		if err == nil || ctx.Err() != nil || endsSession(err) != "" || !isTransient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// store makes one commit and applies it: partitions that failed are dirty again. It returns the
// number of the others. The caller holds turn.
func (c *committer) store(ctx context.Context, snapshots map[*partition]snapshot) (stored int, err error) {
	if len(snapshots) == 0 {
		return 0, nil
	}
	sent := time.Now()
	failed, all := c.exchange(ctx, snapshots)
	err = all
	c.metrics.commitDuration.Observe(time.Since(sent).Seconds())
	for p, s := range snapshots {
		if one := failed[p]; all != nil || one != nil {
			c.mark(p)
			err = firstError(err, one)
			continue
		}
		stored++
		for _, b := range p.window.record(s, sent) {
			c.send(p, b)
		}
	}
	c.observe(ctx, err)
	if cause := endsSession(err); cause != "" {
		c.end(cause, err)
	}
	return stored, err
}

// observe updates metrics and health. Errors that pass by themselves, as those during a rebalance do,
// become a problem only after commitPatience.
func (c *committer) observe(ctx context.Context, err error) {
	switch {
	case err == nil:
		c.metrics.commits.WithLabelValues(resultOK).Inc()
		c.health.committed()
	case ctx.Err() == nil || errors.Is(err, errUnanswered):
		c.metrics.commits.WithLabelValues(resultError).Inc()
		if failing := c.health.commitFailed(); failing > commitPatience || !isTransient(err) && endsSession(err) == "" {
			c.health.report(subjectCommit, "offset commit failing; delivery blocked: "+advise(err))
		}
	}
}

// exchange makes one commit request and returns the partitions that it failed for.
//
// It does not use the client's own commit, because that waits while the client joins the group, which
// takes as long as the slowest member needs to release partitions; the broker accepts commits
// meanwhile, of the old generation until the new one begins.
func (c *committer) exchange(ctx context.Context, snapshots map[*partition]snapshot) (failed map[*partition]error, err error) {
	member, generation := c.client.GroupMetadata()
	for p := range snapshots {
		if p.member != member || generation < 0 {
			return nil, errRemoved
		}
	}
	request, sent := c.compose(snapshots, member, generation)
	broker, err := c.findCoordinator(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	before := c.written.Load()
	response, err := c.client.Broker(int(broker)).Request(ctx, request)
	if err != nil {
		c.coordinator = -1
		if ctx.Err() != nil || c.written.Load() != before {
			return nil, fmt.Errorf("%w: %w", errUnanswered, err)
		}
		return nil, fmt.Errorf("commit offsets: %w", err)
	}
	failed = make(map[*partition]error, len(snapshots))
	for p := range snapshots {
		failed[p] = errors.New("commit offsets: the response lacks the partition")
	}
	for _, t := range response.(*kmsg.OffsetCommitResponse).Topics {
		for _, part := range t.Partitions {
			p := sent[commitKey{t.Topic, t.TopicID, part.Partition}]
			if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
				failed[p] = fmt.Errorf("commit offset of %s: %w", p.topicPartition, err)
				if movedCoordinator(err) {
					c.coordinator = -1
				}
				continue
			}
			delete(failed, p)
		}
	}
	return failed, nil
}

// commitKey names a partition as a response does: by the topic's name up to version 9 of the protocol,
// by its ID from version 10 on.
type commitKey struct {
	topic     string
	id        topicID
	partition int32
}

// compose returns the request for snapshots, and which partition each name in the response stands for.
func (c *committer) compose(snapshots map[*partition]snapshot, member string, generation int32) (*kmsg.OffsetCommitRequest, map[commitKey]*partition) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation, request.InstanceID = c.group, member, generation, c.static
	sent := make(map[commitKey]*partition, 2*len(snapshots))
	topics := map[string]int{}
	for p, s := range snapshots {
		id := c.ids[p.topic]
		i, ok := topics[p.topic]
		if !ok {
			i = len(request.Topics)
			topics[p.topic] = i
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = p.topic, id
			request.Topics = append(request.Topics, t)
		}
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p.partition, s.offset, s.epoch, &s.metadata
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, part)
		sent[commitKey{topic: p.topic, partition: p.partition}] = p
		sent[commitKey{id: id, partition: p.partition}] = p
	}
	return request, sent
}

// findCoordinator returns the node that coordinates the group, and asks for it if it is not known.
func (c *committer) findCoordinator(ctx context.Context) (int32, error) {
	if c.coordinator >= 0 {
		return c.coordinator, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	request := kmsg.NewPtrFindCoordinatorRequest()
	request.CoordinatorKey, request.CoordinatorKeys = c.group, []string{c.group}
	response, err := request.RequestWith(ctx, c.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	node := int32(-1)
	if err == nil {
		node = response.NodeID
		for _, found := range response.Coordinators {
			node, err = found.NodeID, kerr.ErrorForCode(found.ErrorCode)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("find the group's coordinator: %w", err)
	}
	c.coordinator = node
	return node, nil
}

var (
	// errUnanswered means that a commit may have been written, and may be applied at any time while
	// this member and generation last.
	errUnanswered = errors.New("an offset commit was not answered")
	// errRemoved means that a partition was assigned to a member that this client no longer is. The
	// client may have joined again by itself, and others may have owned the partition in between.
	errRemoved = errors.New("removed from the consumer group")
)

// endsSession returns the cause for which a commit error ends the session, or "" if it does not.
func endsSession(err error) string {
	switch {
	case errors.Is(err, errUnanswered):
		return endUnanswered
	case errors.Is(err, errRemoved), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedMemberEpoch):
		return endLost
	case errors.Is(err, kerr.FencedInstanceID):
		return endFenced
	default:
		return ""
	}
}

// isTransient reports whether the same commit may succeed soon.
func isTransient(err error) bool {
	if _, answered := errors.AsType[*kerr.Error](err); !answered {
		return true
	}
	return kerr.IsRetriable(err) || errors.Is(err, kerr.RebalanceInProgress) ||
		errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.StaleMemberEpoch)
}

// movedCoordinator reports whether the group has another coordinator than the one that responded.
func movedCoordinator(err error) bool {
	return errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorNotAvailable)
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

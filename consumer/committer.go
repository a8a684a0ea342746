package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// committer commits the windows of a session's partitions to the group. A commit is a write-ahead
// log entry with the watermark and the cuts beyond it. A batch is sent only after a commit has
// stored its cut. Only one commit is in flight at a time. Each commit sent by run includes as many
// changed partitions as fit in maxCommitBytes, which share its cost. Meanwhile, intake continues to
// seal batches, which hides the commit latency.
//
// An older commit must not overwrite a newer one, but Kafka orders requests only within a
// connection. If a commit's connection breaks, the broker may still apply the commit after newer
// ones of the same member and generation. The newer cuts would then be lost. Each commit is
// therefore sent only once. If a commit may have reached the broker but got no response, the
// session ends. The next session has a different member ID or generation, so the broker rejects the
// old commit if it is still in flight.
type committer struct {
	client  *kgo.Client
	group   string
	static  *string            // instance ID; nil for a dynamic member
	ids     map[string]topicID // IDs of the session's topics
	written *atomic.Int64      // number of commit requests at least partly written
	health  *health
	metrics *metrics
	send    func(*partition, *batch)    // sends a batch whose cut is stored
	end     func(cause string, e error) // ends the session

	commitNow chan struct{} // capacity 1; requests an immediate commit

	// commitMu makes [snapshot, commit, apply] and [last commit, fence] atomic, and guards the
	// fields below. commitMu is acquired before any other lock and held until the broker responds.
	commitMu    chanMutex
	coordinator int32                   // node ID of the group coordinator; -1 if unknown
	failing     map[*partition]struct{} // partitions whose last commit failed; may include released ones

	mu    sync.Mutex              // guards the fields below
	dirty map[*partition]struct{} // partitions to include in the next commit
}

// chanMutex is a mutex for long critical sections. It is a channel with capacity 1, so that a
// context can cancel the wait. In a synctest bubble, time advances while lock blocks, unlike with a
// sync.Mutex.
type chanMutex chan struct{}

// lock acquires the mutex. If ctx is done first, lock returns context.Cause(ctx).
func (m chanMutex) lock(ctx context.Context) error {
	select {
	case m <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m chanMutex) unlock() { <-m }

// run commits until ctx is done. It commits immediately if a sealed batch is waiting, and otherwise
// every commitInterval. It retries failed commits indefinitely, because an operator may fix the
// cause. owned returns the session's partitions.
func (c *committer) run(ctx context.Context, owned func() []*partition) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	for attempt := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.commitNow:
		case <-tick.C:
			c.markStale(owned())
		}
		stored, err := c.commit(ctx)
		if err == nil || stored > 0 { // failed partitions wait for the next commit
			attempt = 0
			continue
		}
		attempt++
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(100*time.Millisecond<<min(attempt, 5), commitInterval)):
			c.requestCommit()
		}
	}
}

// requestCommit triggers an immediate commit.
func (c *committer) requestCommit() {
	select {
	case c.commitNow <- struct{}{}:
	default:
	}
}

// markDirty adds a partition to the next commit.
func (c *committer) markDirty(p *partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty[p] = struct{}{}
}

// markStale adds partitions whose last commit is older than refreshInterval to the next commit.
// Some brokers expire offsets that are not committed again. Each partition also has a second of
// each refreshInterval in which it is added, so that partitions once committed together are not
// always committed together.
func (c *committer) markStale(partitions []*partition) {
	second := time.Now().Unix()
	for _, p := range partitions {
		if (second+int64(p.partition))%int64(refreshInterval/time.Second) == 0 ||
			time.Since(p.window.status().storedAt) >= refreshInterval {
			c.markDirty(p)
		}
	}
}

// commit commits the dirty partitions and sends the newly recorded batches. It returns the number
// of committed partitions.
func (c *committer) commit(ctx context.Context) (stored int, err error) {
	if err := c.commitMu.lock(ctx); err != nil {
		return 0, err
	}
	defer c.commitMu.unlock()
	c.mu.Lock()
	dirty := c.dirty
	c.dirty = make(map[*partition]struct{}, len(dirty))
	c.mu.Unlock()
	return c.store(ctx, slices.Collect(maps.Keys(dirty)), true)
}

// commitAll commits the given partitions that have changed. It retries transient errors until ctx
// is done or the session ends.
func (c *committer) commitAll(ctx context.Context, partitions []*partition) error {
	if err := c.commitMu.lock(ctx); err != nil {
		return err
	}
	defer c.commitMu.unlock()
	return c.storeAll(ctx, partitions)
}

// commitLast commits like commitAll and then fences the partitions' windows. No other commit can
// start in between, so the partitions are never committed again. If ctx is done before commitMu is
// acquired, commitLast only fences the windows.
func (c *committer) commitLast(ctx context.Context, partitions []*partition) error {
	err := c.commitMu.lock(ctx)
	if err == nil {
		defer c.commitMu.unlock()
		err = c.storeAll(ctx, partitions)
	}
	for _, p := range partitions {
		p.window.fence()
	}
	return err
}

// storeAll implements commitAll. The caller holds commitMu.
func (c *committer) storeAll(ctx context.Context, partitions []*partition) error {
	for {
		_, err := c.store(ctx, partitions, false)
		if err == nil || ctx.Err() != nil || endCauseOf(err) != "" || !isTransient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// store commits partitions, including unchanged ones if refresh is set, and returns the number of
// committed partitions. It sends one request after another. Each request contains at most
// maxCommitBytes of offset records, because Kafka writes a request's records as one batch, and
// rejects a batch larger than the offsets topic allows. After a request that fails as a whole or
// ends the session, and once ctx is done, store sends no more requests, and marks the remaining
// partitions as dirty again. If ctx is done before all requests are sent, store returns an error.
// The caller holds commitMu.
func (c *committer) store(ctx context.Context, partitions []*partition, refresh bool) (stored int, err error) {
	for len(partitions) > 0 {
		var snapshots map[*partition]snapshot
		snapshots, partitions = c.fill(partitions, refresh)
		if len(snapshots) == 0 {
			break
		}
		n, more, one := c.storeRequest(ctx, snapshots)
		stored += n
		if err == nil || endCauseOf(one) != "" { // an error that ends the session takes precedence
			err = one
		}
		if !more {
			break
		}
	}
	for _, p := range partitions {
		c.markDirty(p)
	}
	if err == nil && len(partitions) > 0 {
		err = context.Cause(ctx)
	}
	return stored, err
}

// offsetRecordBytes bounds the size of an offset record in the offsets topic without the group, the
// topic, and the metadata: the record's header, four lengths, two versions, the partition, the
// offset, the leader epoch, the commit time, and the topic ID.
const offsetRecordBytes = 96

// fill takes snapshots for one request from the first partitions, and returns the remaining
// partitions.
func (c *committer) fill(
	partitions []*partition, refresh bool,
) (snapshots map[*partition]snapshot, rest []*partition) {
	snapshots = map[*partition]snapshot{}
	bytes := 0
	for i, p := range partitions {
		s, ok := p.window.snapshot()
		if !ok || !refresh && !s.changed {
			continue
		}
		bytes += offsetRecordBytes + len(c.group) + len(p.topic) + len(s.metadata)
		if bytes > maxCommitBytes && len(snapshots) > 0 {
			return snapshots, partitions[i:]
		}
		snapshots[p] = s
	}
	return snapshots, nil
}

// storeRequest sends one commit and applies the result. It marks failed partitions as dirty again,
// and returns the number of committed partitions. more reports whether another request may follow.
// The caller holds commitMu.
func (c *committer) storeRequest(
	ctx context.Context, snapshots map[*partition]snapshot,
) (stored int, more bool, err error) {
	sent := time.Now()
	failed, all := c.exchange(ctx, snapshots)
	err = all
	c.metrics.commitDuration.Observe(time.Since(sent).Seconds())
	for p, s := range snapshots {
		if one := failed[p]; all != nil || one != nil {
			c.markDirty(p)
			c.failing[p] = struct{}{}
			if err == nil || endCauseOf(one) != "" {
				err = one
			}
			continue
		}
		stored++
		delete(c.failing, p)
		for _, b := range p.window.applyCommit(s, sent) {
			c.send(p, b)
		}
	}
	c.recordResult(ctx, err)
	cause := endCauseOf(err)
	if cause != "" {
		c.end(cause, err)
	}
	return stored, all == nil && cause == "" && ctx.Err() == nil, err
}

// recordResult updates metrics and health. Transient errors, such as those during a rebalance,
// become a problem only after commitPatience. A commit might cover only some partitions, so the
// problem remains while the commit of any other partition is failing. The caller holds commitMu.
func (c *committer) recordResult(ctx context.Context, err error) {
	maps.DeleteFunc(c.failing, func(p *partition, _ struct{}) bool {
		_, owned := p.window.snapshot()
		return !owned
	})
	switch {
	case err == nil:
		c.metrics.commits.WithLabelValues(resultOK).Inc()
		c.health.recordCommit(len(c.failing) == 0)
	case ctx.Err() == nil || errors.Is(err, errUnanswered):
		c.metrics.commits.WithLabelValues(resultError).Inc()
		failing := c.health.recordCommitFailure()
		if failing > commitPatience || !isTransient(err) && endCauseOf(err) == "" {
			c.health.report(subjectCommit, failure("offset commit failing; delivery blocked", err, commitAdvice(err)))
		}
	}
}

// exchange sends one commit request. It returns an error for each failed partition, or err if the
// whole request fails.
//
// exchange does not use the client's own commit function, which blocks while the client is joining
// the group. A join lasts until the slowest member has released its partitions. During a join, the
// broker still accepts commits of the old generation.
func (c *committer) exchange(
	ctx context.Context, snapshots map[*partition]snapshot,
) (failed map[*partition]error, err error) {
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
		failed[p] = fmt.Errorf("commit the offset of %s: partition missing from the response", p.topicPartition)
	}
	for _, t := range response.(*kmsg.OffsetCommitResponse).Topics {
		for _, part := range t.Partitions {
			p := sent[commitKey{t.Topic, t.TopicID, part.Partition}]
			if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
				failed[p] = fmt.Errorf("commit the offset of %s: %w", p.topicPartition, err)
				if isCoordinatorError(err) {
					c.coordinator = -1
				}
				continue
			}
			delete(failed, p)
		}
	}
	return failed, nil
}

// commitKey identifies a partition in an OffsetCommit response. Responses identify topics by name
// up to version 9, and by ID in later versions.
type commitKey struct {
	topic     string
	id        topicID
	partition int32
}

// compose returns the commit request for snapshots, and a map from response keys to partitions.
func (c *committer) compose(
	snapshots map[*partition]snapshot, member string, generation int32,
) (*kmsg.OffsetCommitRequest, map[commitKey]*partition) {
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
		part.Partition, part.Offset, part.LeaderEpoch = p.partition, s.offset, s.epoch
		part.Metadata = &s.metadata
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, part)
		sent[commitKey{topic: p.topic, partition: p.partition}] = p
		sent[commitKey{id: id, partition: p.partition}] = p
	}
	return request, sent
}

// findCoordinator returns the group coordinator's node ID, looking it up if it is unknown.
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
		return -1, fmt.Errorf("find the group coordinator: %w", err)
	}
	c.coordinator = node
	return node, nil
}

var (
	// errUnanswered means that a commit may have reached the broker but got no response. The broker
	// may still apply the commit as long as the member and generation are valid.
	errUnanswered = errors.New("no response to an offset commit")
	// errRemoved means that the group removed the member that owned a partition. The client may
	// have rejoined since, and other members may have owned the partition in between.
	errRemoved = errors.New("removed from the consumer group")
)

// endCauseOf returns the end cause if a commit error ends the session, and "" otherwise.
func endCauseOf(err error) string {
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

// isTransient reports whether a commit error may resolve itself without operator action.
// recordResult reports other errors immediately unless they end the session, and storeAll does not
// retry them. kerr.IsRetriable covers a coordinator that has moved, is loading, or is slow, and a
// topic still unknown to the broker.
func isTransient(err error) bool {
	if _, responded := errors.AsType[*kerr.Error](err); !responded {
		return true
	}
	return kerr.IsRetriable(err) || errors.Is(err, kerr.RebalanceInProgress) ||
		errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.StaleMemberEpoch)
}

// isCoordinatorError reports whether err means that the responding node cannot act as the group's
// coordinator.
func isCoordinatorError(err error) bool {
	return errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorNotAvailable)
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// group implements the Kafka client's assignment callbacks. The client calls them one at a time:
// onRevoked with partitions to release, onAssigned with new partitions, and then onOffsetsFetched
// and adjustOffsets with the new partitions' offsets. The assigned, revoked, and lost callbacks
// must all be set. If the lost callback is not set, the client does not report that the group
// removed the member.
type group struct {
	*session
	ready chan struct{} // closed when session.client is set; callbacks may run before kgo.NewClient returns
}

// options returns the client options that register the callbacks.
func (g *group) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.OnPartitionsAssigned(g.onAssigned),
		kgo.OnPartitionsRevoked(g.onRevoked),
		kgo.OnPartitionsLost(g.onLost),
		kgo.OnOffsetsFetched(g.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(g.adjustOffsets),
	}
}

// onAssigned records the assigned partitions, if any. onOffsetsFetched starts these partitions,
// because only that callback receives the commit metadata. onAssigned does not block.
func (g *group) onAssigned(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
	g.metrics.rebalances.WithLabelValues(rebalanceAssigned).Inc()
	n := 0
	g.mu.Lock()
	g.owesJoin = false
	for topic, numbers := range assigned {
		for _, number := range numbers {
			g.awaited[topicPartition{topic, number}] = true
			n++
		}
	}
	g.mu.Unlock()
	if n > 0 {
		return // onOffsetsFetched runs next
	}
	g.health.setJoined(true)
	g.health.resolve(subjectAssignment)
	g.health.resolve(subjectGroup)
}

// onOffsetsFetched starts the assigned partitions at the positions that [starter] resolves. It
// blocks for at most twice startPatience, and returns early if ctx is done.
func (g *group) onOffsetsFetched(ctx context.Context, _ *kgo.Client, response *kmsg.OffsetFetchResponse) error {
	<-g.ready
	started, err := g.startAssigned(ctx, response)
	switch {
	case ctx.Err() != nil: // the group is rebalancing; the client will fetch the offsets again
		return ctx.Err()
	case errors.Is(err, errEnded):
		return err
	case err != nil:
		g.end(endOffsets, err)
		g.health.report(subjectAssignment, failure("cannot start the assigned partitions", err, Advice(err)))
		return err
	}
	g.health.setJoined(true)
	g.health.resolve(subjectAssignment)
	g.health.resolve(subjectGroup)
	assigned := map[string][]int32{}
	for _, p := range started {
		assigned[p.topic] = append(assigned[p.topic], p.partition)
	}
	g.log.Info("partitions assigned", zap.Int("partitions", len(started)), zap.Any("assigned", assigned))
	return nil
}

// startAssigned starts the partitions in an OffsetFetch response.
func (g *group) startAssigned(
	ctx context.Context, response *kmsg.OffsetFetchResponse,
) (started []*partition, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*startPatience)
	defer cancel()
	starts, err := g.starter.resolve(ctx, response)
	if err != nil {
		return nil, err
	}
	if g.ends != nil {
		if err := g.starter.retry(ctx, func() error { return g.ends.resolve(ctx, starts) }); err != nil {
			return nil, err
		}
	}
	// Check the topics last, to prove that the requests above did not see a recreated topic.
	if err := g.starter.checkTopics(ctx); err != nil {
		if errors.Is(err, errRecreated) {
			g.end(endTopics, err)
			return nil, errEnded
		}
		return nil, err
	}
	g.mu.Lock()
	names := missing(g.awaited, starts)
	g.mu.Unlock()
	if len(names) > 0 {
		return nil, errMissing(names)
	}
	started, err = g.startPartitions(starts)
	if err != nil {
		return nil, err
	}
	var uncommitted []*partition
	for i, p := range started {
		if !starts[i].committed {
			uncommitted = append(uncommitted, p)
		}
	}
	// Commit new start offsets before any record is read, so that no record is skipped between two
	// owners. If the commit fails, for example for lack of permission, the committer reports the
	// error, and nothing is sent until a commit succeeds.
	if err := g.committer.commitAll(ctx, uncommitted); err != nil && g.over() {
		return nil, errEnded
	}
	return started, ctx.Err()
}

// adjustOffsets replaces the fetched offsets with the partitions' start positions.
func (g *group) adjustOffsets(
	_ context.Context, offsets map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, numbers := range offsets {
		for number := range numbers {
			at, ok := g.starts[topicPartition{topic, number}]
			if !ok {
				return nil, errEnded
			}
			numbers[number] = at
		}
	}
	return offsets, nil
}

// onRevoked drains the revoked partitions. The client passes an empty map at the end of every
// cooperative rebalance. onRevoked blocks for at most Config.DrainTimeout plus lastCommitTimeout.
func (g *group) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	partitions := g.forgetAwaited(revoked)
	if len(partitions) == 0 {
		return
	}
	g.metrics.rebalances.WithLabelValues(rebalanceRevoked).Inc()
	started := time.Now()
	if err := g.drain(partitions); err != nil {
		g.log.Warn("partitions revoked before all batches were delivered; the next owner resends the rest",
			zap.Error(err))
	}
	g.log.Info("partitions revoked",
		zap.Int("partitions", len(partitions)), zap.Duration("duration", time.Since(started)))
}

// onLost ends the session if started partitions are lost, because other members may already own
// them. Otherwise, the session continues, and the client rejoins on its own. onLost does not block.
func (g *group) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	partitions := g.forgetAwaited(lost)
	g.mu.Lock()
	clear(g.awaited)
	g.mu.Unlock()
	if len(partitions) == 0 || g.over() {
		return
	}
	g.metrics.rebalances.WithLabelValues(rebalanceLost).Inc()
	g.log.Warn("partitions lost: removed from the consumer group", zap.Int("partitions", len(partitions)))
	g.end(endLost, errRemoved)
}

// forgetAwaited stops waiting for the named partitions' offsets, and returns the named partitions
// already started. If there are any, forgetAwaited also sets owesJoin.
func (g *group) forgetAwaited(names map[string][]int32) (partitions []*partition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, numbers := range names {
		for _, number := range numbers {
			name := topicPartition{topic, number}
			delete(g.awaited, name)
			if p := g.partitions[name]; p != nil {
				partitions = append(partitions, p)
			}
		}
	}
	if len(partitions) > 0 {
		g.owesJoin = true
	}
	return partitions
}

// endIfIDLost ends the session if the client's metadata lacks the ID of a topic with assigned
// partitions, as it does after a Metadata response with an error for the topic. In the consumer
// protocol, kgo then reports these partitions to the group without the topic's ID, so the group
// treats the partitions as released and may reassign them before they are drained.
//
// The client hook calls endIfIDLost after each heartbeat and each Metadata request. No heartbeat
// without the ID is missed: only a Metadata response can restore the ID, and the hook runs when the
// Metadata request is written, before the response arrives. endIfIDLost does not block.
func (g *group) endIfIDLost() {
	select {
	case <-g.ready:
	default:
		return // the member has not joined yet
	}
	topics := map[string]bool{}
	g.mu.Lock()
	for p := range g.partitions {
		topics[p.topic] = true
	}
	for p := range g.awaited {
		topics[p.topic] = true
	}
	g.mu.Unlock()
	for topic := range topics {
		// For a partition that does not exist, PartitionLeader returns the error of the topic.
		if _, _, err := g.client.PartitionLeader(topic, math.MaxInt32); err != nil {
			g.end(endMetadata, fmt.Errorf("the ID of topic %s is unknown: %w", topic, err))
			return
		}
	}
}

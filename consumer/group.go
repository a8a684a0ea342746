package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// group is what the client calls for each change of the assignment, one call at a time: onRevoked with
// what the member loses, onAssigned with what it gains, onOffsetsFetched and adjustOffsets with the
// offsets of the gains. All three of assigned, revoked and lost must be set: without lost, nothing is
// called when the group removes the member.
type group struct {
	*session
	ready chan struct{} // closed when session.client is set; the client calls back before it is returned
}

func (g *group) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.OnPartitionsAssigned(g.onAssigned),
		kgo.OnPartitionsRevoked(g.onRevoked),
		kgo.OnPartitionsLost(g.onLost),
		kgo.OnOffsetsFetched(g.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(g.adjustOffsets),
	}
}

// onAssigned notes what was assigned. Partitions begin in onOffsetsFetched, where the commit metadata
// is at hand. The map may be empty. It does not block.
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
		return // their offsets are still to be fetched
	}
	g.health.setJoined(true)
	g.health.resolve(subjectAssignment)
	g.health.resolve(subjectGroup)
}

// onOffsetsFetched begins the assigned partitions where [starter] says. It blocks for at most twice
// startPatience, and no longer than the client's context allows.
func (g *group) onOffsetsFetched(ctx context.Context, _ *kgo.Client, response *kmsg.OffsetFetchResponse) error {
	<-g.ready
	begun, err := g.beginAll(ctx, response)
	switch {
	case ctx.Err() != nil: // a rebalance; the client fetches the offsets again after it
		return ctx.Err()
	case errors.Is(err, errEnded):
		return err
	case err != nil:
		g.end(endOffsets, err)
		g.health.report(subjectAssignment, "cannot begin the assigned partitions: "+advise(err))
		return err
	}
	g.health.setJoined(true)
	g.health.resolve(subjectAssignment)
	g.health.resolve(subjectGroup)
	assigned := map[string][]int32{}
	for _, p := range begun {
		assigned[p.topic] = append(assigned[p.topic], p.partition)
	}
	g.log.Info("partitions assigned", zap.Int("partitions", len(begun)), zap.Any("assigned", assigned))
	return nil
}

func (g *group) beginAll(ctx context.Context, response *kmsg.OffsetFetchResponse) (begun []*partition, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*startPatience)
	defer cancel()
	starts, err := g.starter.resolve(ctx, response)
	if err != nil {
		return nil, err
	}
	// Last, so that everything above was asked of the topics that the session consumes.
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
	begun, err = g.begin(starts)
	if err != nil {
		return nil, err
	}
	var fresh []*partition
	for i, p := range begun {
		if !starts[i].committed {
			fresh = append(fresh, p)
		}
	}
	// The offsets that the group does not have are committed first, so that nothing between two owners is
	// skipped. Where that fails, as without the permission, nothing of the partition can be sent before it
	// succeeds, and the committer reports it.
	if err := g.committer.commitAll(ctx, fresh); err != nil && g.over() {
		return nil, errEnded
	}
	return begun, ctx.Err()
}

// adjustOffsets tells the client where to begin.
func (g *group) adjustOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
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

// onRevoked drains partitions that the group gives to another member. The map is empty at the end of
// every cooperative rebalance. It blocks for at most Config.DrainTimeout and lastCommitTimeout.
func (g *group) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	partitions := g.named(revoked)
	if len(partitions) == 0 {
		return
	}
	g.metrics.rebalances.WithLabelValues(rebalanceRevoked).Inc()
	started := time.Now()
	if err := g.drain(partitions); err != nil {
		g.log.Warn("partitions revoked before everything was delivered; the next owner delivers the rest under the same payload IDs", zap.Error(err))
	}
	g.log.Info("partitions revoked", zap.Int("partitions", len(partitions)), zap.Duration("duration", time.Since(started)))
}

// onLost ends the session, because the partitions are somebody else's already. A member that could not
// join loses none, and the client tries again. It does not block.
func (g *group) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	partitions := g.named(lost)
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

// named returns the partitions with the given names that the session owns, and awaits the others no
// longer.
func (g *group) named(names map[string][]int32) (partitions []*partition) {
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

package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// watcher detects topic changes that the client does not report. It ends the session if a topic was
// created, deleted, or recreated. It also lists end offsets, so that a partition's lag grows even
// while the partition is not fetched. For [PartitionStatus.Deletable], it fetches the topics'
// retention and, if intake has not read a partition's oldest undelivered record, the record's
// timestamp.
type watcher struct {
	*session
	gone   map[string]int           // number of consecutive checks that did not find a topic, by topic
	unread map[topicPartition]int64 // watermarks at the last check; see readOldest
}

// run checks the topics every watchInterval until ctx is done. If a topic seems to be missing, the
// next check follows after recheckInterval.
func (w *watcher) run(ctx context.Context) {
	for {
		wait := watchInterval
		checkCtx, cancel := context.WithTimeout(ctx, watchInterval)
		if !w.check(checkCtx) {
			wait = recheckInterval
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// check checks all topics once, and reports false if a topic must be checked again soon. A newly
// started broker knows no topics, so a topic counts as deleted only if two consecutive checks do
// not find it.
func (w *watcher) check(ctx context.Context) (sure bool) {
	found, err := w.topics.lookUp(ctx, w.cfg.watchedTopics()...)
	if err != nil {
		return true
	}
	sure = true
	for _, name := range w.cfg.Topics {
		t := found[name]
		id, consumed := w.ids[name]
		switch {
		case !errors.Is(t.err, kerr.UnknownTopicOrPartition) || !consumed:
			w.gone[name] = 0
			w.topics.report(kindTopic, name, t.err, Advice)
		case w.gone[name] == 0:
			w.gone[name]++
			sure = false
		default:
			w.topics.report(kindTopic, name, t.err, Advice)
			w.end(endTopics, fmt.Errorf("topic %s was deleted", name))
		}
		switch {
		case t.err != nil:
		case !consumed:
			w.end(endTopics, fmt.Errorf("topic %s was created", name))
		case t.id != id:
			w.end(endTopics, fmt.Errorf("topic %s: %w", name, errRecreated))
		}
	}
	if name := w.cfg.DeadLetterTopic; name != "" {
		w.topics.report(kindDeadLetterTopic, name, found[name].err, DeadLetterAdvice)
	}
	w.listEnds(ctx)
	w.sendBounds(ctx)
	w.topics.refreshConfigs(ctx, slices.Collect(maps.Keys(w.ids)))
	w.readOldest(ctx)
	return sure
}

// listEnds updates the partitions' end offsets to those reported by the leaders.
func (w *watcher) listEnds(ctx context.Context) {
	partitions := w.all()
	names := make([]topicPartition, len(partitions))
	for i, p := range partitions {
		names[i] = p.topicPartition
	}
	asked := time.Now()
	ends, err := listOffsets(ctx, w.admin, names, logEndTimestamp, readCommitted)
	if err != nil {
		return
	}
	for _, p := range partitions {
		p.end.setListed(ends[p.topicPartition].offset, asked)
	}
}

// readOldest reads the oldest undelivered record of each partition that has lag, and whose oldest
// undelivered record was already unread at the last check. Once a record has been read, its
// timestamp is known; see unsealedTime.
//
// A record stays unread if other partitions use up the memory budget while LaunchDarkly is down, or
// if fetching fails. No request other than a fetch returns the timestamp at an offset. readOldest
// therefore fetches a single producer batch, once per partition and watermark. If fetching fails,
// the timestamp remains unknown at least until the next check.
//
// For each partition whose oldest undelivered record is unread, w.unread contains the watermark or,
// once readOldest has read the record, the watermark's bitwise complement.
func (w *watcher) readOldest(ctx context.Context) {
	unread := map[topicPartition]int64{}
	for _, p := range w.all() {
		s := p.status()
		if s.End <= s.Watermark || !s.Oldest.IsZero() {
			continue
		}
		unread[p.topicPartition] = s.Watermark
		switch last, ok := w.unread[p.topicPartition]; {
		case ok && last == s.Watermark && w.readTime(ctx, p, s.Watermark), ok && last == ^s.Watermark:
			unread[p.topicPartition] = ^s.Watermark // the record was read, even if it has no timestamp
		}
	}
	w.unread = unread
}

// readTime sets p.unsealed to the timestamp of the first record in the log at or after the
// watermark, and reports whether it has read a record.
func (w *watcher) readTime(ctx context.Context, p *partition, watermark int64) bool {
	ctx, cancel := context.WithTimeout(ctx, readTimePatience)
	defer cancel()
	one := []topicPartition{p.topicPartition}
	starts, err := listOffsets(ctx, w.admin, one, logStartTimestamp, readUncommitted)
	if err != nil {
		return false
	}
	r, err := readFrom(ctx, w.cfg.Client, p.topicPartition, max(watermark, starts[p.topicPartition].offset))
	if err != nil || r == nil {
		return false
	}
	p.unsealed.set(watermark, r.Timestamp)
	return true
}

// readTimePatience bounds readTime, so that partitions that cannot be fetched do not delay others.
const readTimePatience = 2 * time.Second

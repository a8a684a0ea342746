package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// watcher looks for what the client does not report: topics that come into being, are deleted, or are
// recreated, any of which ends the session; and the ends of the logs, without which the lag of a
// partition that is not fetched would not grow.
type watcher struct {
	*session
	gone map[string]int // by topic of the session: how many looks in a row did not find it
}

// run looks every watchInterval until ctx is done.
func (w *watcher) run(ctx context.Context) {
	for {
		wait := watchInterval
		lookCtx, cancel := context.WithTimeout(ctx, watchInterval)
		if !w.look(lookCtx) {
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

// look looks once. It returns false if it is to be repeated soon: a broker that has just started
// knows no topics, so one that is not found counts as deleted only when it is not found twice.
func (w *watcher) look(ctx context.Context) (sure bool) {
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
			w.topics.report("topic", name, t.err, advise)
		case w.gone[name] == 0:
			w.gone[name]++
			sure = false
		default:
			w.topics.report("topic", name, t.err, advise)
			w.end(endTopics, fmt.Errorf("topic %s was deleted", name))
		}
		switch {
		case t.err != nil:
		case !consumed:
			w.end(endTopics, fmt.Errorf("topic %s exists now", name))
		case t.id != id:
			w.end(endTopics, fmt.Errorf("topic %s: %w", name, errRecreated))
		}
	}
	if name := w.cfg.DeadLetterTopic; name != "" {
		w.topics.report("dead-letter topic", name, found[name].err, adviseDeadLetter)
	}
	w.listEnds(ctx)
	return sure
}

// listEnds asks the leaders where the logs of the session's partitions end.
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
		p.end.listed(ends[p.topicPartition].offset, asked)
	}
}

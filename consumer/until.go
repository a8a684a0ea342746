package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// noEnd is the end of a partition in a run without Config.Until.
const noEnd = math.MaxInt64

// ends determines when a run with Config.Until ends. A partition ends at its first record with that
// time or a later one or, if there is none, at the last stable offset when the end is resolved. A
// member resolves the end once, when it first owns the partition, and maps no record at or beyond
// the end. A batch recorded by an earlier owner may have been sent already, so it is completed even
// if it crosses the end. ends is safe for concurrent use.
type ends struct {
	cfg     *Config
	admin   *kgo.Client
	topics  *topics
	reach   func()      // ends Run
	reached atomic.Bool // everything before the ends is delivered and committed

	mu    sync.Mutex // guards the fields below
	owned map[topicPartition]int64
	all   map[topicPartition]int64 // resolved by a member without partitions; nil until then
}

// resolve sets the ends of the given partitions.
func (e *ends) resolve(ctx context.Context, starts []start) error {
	e.mu.Lock()
	var unresolved []topicPartition
	for _, s := range starts {
		if _, ok := e.owned[s.topicPartition]; !ok {
			unresolved = append(unresolved, s.topicPartition)
		}
	}
	e.mu.Unlock()
	found, err := e.list(ctx, unresolved)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.Copy(e.owned, found)
	for i := range starts {
		end := e.owned[starts[i].topicPartition]
		if cuts := starts[i].cuts; len(cuts) > 0 {
			end = max(end, cuts[len(cuts)-1])
		}
		starts[i].until = &end
	}
	return nil
}

// list returns the ends of the given partitions. A partition added after the topic was first seen
// is not part of the run, so it ends at its start.
func (e *ends) list(ctx context.Context, names []topicPartition) (map[topicPartition]int64, error) {
	if len(names) == 0 {
		return nil, nil
	}
	// Round up to Kafka's milliseconds, because a record in the same millisecond may be older.
	until := e.cfg.Until.Add(time.Millisecond - 1).UnixMilli()
	// List the log ends first, so that they contain no record with the time of the end.
	last, err := listOffsets(ctx, e.admin, names, logEndTimestamp, readCommitted)
	if err != nil {
		return nil, err
	}
	timed, err := listOffsets(ctx, e.admin, names, until, readCommitted)
	if err != nil {
		return nil, err
	}
	first, err := listOffsets(ctx, e.admin, names, logStartTimestamp, readUncommitted)
	if err != nil {
		return nil, err
	}
	found := make(map[topicPartition]int64, len(names))
	for _, name := range names {
		found[name] = last[name].offset
		if at := timed[name].offset; at >= 0 {
			found[name] = min(found[name], at)
		}
		if name.partition >= e.topics.firstSeen(name.topic).partitions {
			found[name] = first[name].offset
		}
	}
	return found, nil
}

// reachedByGroup reports whether the group's committed offsets have reached the ends of all
// partitions.
func (e *ends) reachedByGroup(ctx context.Context) (bool, error) {
	all, err := e.listAll(ctx)
	if err != nil {
		return false, err
	}
	committed, err := kadm.NewClient(e.admin).FetchOffsets(ctx, e.cfg.Group)
	if err != nil {
		return false, fmt.Errorf("fetch the group's committed offsets: %w", err)
	}
	for name, end := range all {
		c, ok := committed.Lookup(name.topic, name.partition)
		if c.Err != nil {
			return false, fmt.Errorf("fetch the committed offset of %s: %w", name, c.Err)
		}
		if !ok || c.At < end {
			return false, nil
		}
	}
	return true, nil
}

// listAll returns the ends of all partitions, which it resolves once.
func (e *ends) listAll(ctx context.Context) (map[topicPartition]int64, error) {
	e.mu.Lock()
	all := e.all
	e.mu.Unlock()
	if all != nil {
		return all, nil
	}
	found, err := e.topics.lookUp(ctx, e.cfg.Topics...)
	if err != nil {
		return nil, err
	}
	var names []topicPartition
	for topic, info := range found {
		if info.err != nil {
			return nil, fmt.Errorf("look up topic %s: %w", topic, info.err)
		}
		for number := range info.partitions {
			names = append(names, topicPartition{topic, number})
		}
	}
	if all, err = e.list(ctx, names); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = all
	return all, nil
}

// watchEnds ends Run once the session's partitions are complete. In two cases, watchEnds waits
// until the partitions of the whole group are complete:
//
//   - The session owns no partition.
//   - The session has just begun. A crashed member keeps its partitions until its session times out.
//     The other members may end before then, so the member started in its place must remain to own
//     them.
func (s *session) watchEnds(ctx context.Context) {
	if s.ends == nil {
		return
	}
	begun, failing := time.Now(), false
	tick := time.NewTicker(endInterval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		idle, complete := s.isComplete()
		if idle || complete && time.Since(begun) < s.cfg.crashTimeout() {
			if complete = n%groupInterval == 0 && s.health.status().Joined; complete {
				var err error
				complete, err = s.ends.reachedByGroup(ctx)
				if err != nil && !failing && ctx.Err() == nil {
					s.log.Warn("cannot determine whether the group has reached the end", zap.Error(err))
				}
				failing = err != nil
			}
		}
		if complete {
			s.log.Info("end reached; everything before it is delivered and committed")
			s.ends.reached.Store(true)
			s.ends.reach()
			return
		}
	}
}

const (
	endInterval   = 250 * time.Millisecond // between checks of the session's partitions
	groupInterval = 4                      // number of these checks per check of the whole group
)

// crashTimeout returns the time within which the group reassigns the partitions of a member that
// crashed. With the consumer protocol, the brokers choose the session timeout. One minute is their
// default for its maximum.
func (c *Config) crashTimeout() time.Duration {
	const rebalance = 10 * time.Second
	if c.ConsumerProtocol {
		return time.Minute + rebalance
	}
	return c.SessionTimeout + rebalance
}

// isComplete reports whether no partition is assigned to the session, and whether partitions are
// assigned and all of them are complete.
func (s *session) isComplete() (idle, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.awaited) > 0 || len(s.partitions) == 0 {
		return len(s.awaited) == 0, false
	}
	for _, p := range s.partitions {
		if !p.isComplete() {
			return false, false
		}
	}
	return false, true
}

// isComplete reports whether everything before the partition's end is delivered and committed.
func (p *partition) isComplete() bool {
	if !p.ended.Load() {
		return false
	}
	w := p.window.status()
	return w.anchored && w.batches == 0 && w.stored == w.watermark
}

// finish ends the intake at the given offset, which is in.until or, if the log was truncated,
// in.next. It seals the open range and stops reading the partition.
func (in *intake) finish(at int64) {
	for len(in.cuts) > 0 && in.cuts[0] <= at { // the log has a gap at the cut
		in.next.offset = in.cuts[0]
		in.sealAtCut()
	}
	in.cuts = nil
	if in.next.offset < at { // the log has a gap at the end
		in.next = position{at, -1}
	}
	if in.open != nil {
		in.seal(sealEnd)
	}
	in.floor = in.next
	in.window.setFloor(in.floor, nil)
	in.queue.close()
	in.queue.pause()
	in.ended.Store(true)
}

// logBounds holds the bounds of a partition's log as its leader reports them. end is the last
// stable offset.
type logBounds struct{ start, end int64 }

// endOf returns where a partition ends if the log contains no record from next to until, because
// retention deleted these records or the log was truncated. Otherwise, short is false.
func (b logBounds) endOf(next, until int64) (at int64, short bool) {
	switch {
	case b.start >= until:
		return until, true
	case b.end < until && b.end <= next:
		return next, true
	}
	return 0, false
}

// sendBounds sends the bounds of their logs to the intakes that have not ended. An intake ends early
// only if it has read nothing between two bounds that do not contain the records up to its end. While
// polling is blocked, sendBounds sends nothing, because the client may hold records that it fetched
// earlier.
func (w *watcher) sendBounds(ctx context.Context) {
	if w.ends == nil || w.memory.crowded() {
		return
	}
	var running []*partition
	var names []topicPartition
	for _, p := range w.all() {
		if !p.ended.Load() {
			running, names = append(running, p), append(names, p.topicPartition)
		}
	}
	if len(names) == 0 {
		return
	}
	first, err := listOffsets(ctx, w.admin, names, logStartTimestamp, readUncommitted)
	if err != nil {
		return
	}
	last, err := listOffsets(ctx, w.admin, names, logEndTimestamp, readCommitted)
	if err != nil {
		return
	}
	for _, p := range running {
		select {
		case p.bounds <- logBounds{first[p.topicPartition].offset, last[p.topicPartition].offset}:
		default: // intake is waiting for the window
		}
	}
}

var (
	// errIncomplete is the result of a run with Config.Until that was stopped before its end.
	errIncomplete = errors.New("stopped before the end was reached")
	// errNoTopic ends a run with Config.Until, because the topic's records cannot be delivered.
	errNoTopic = errors.New("does not exist")
	// errReplaced ends a run with Config.Until, because the old topic's records cannot be
	// delivered.
	errReplaced = errors.New("recreated before the end was reached")
)

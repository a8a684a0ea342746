package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// This file alone decides where a partition starts. The decision depends on the committed offset,
// the leader's description of the log, and the known topics. It never depends on the offsets of
// records read: a session that reads an unexpected offset ends, and the next session decides again.
// The rules, in order:
//
//  1. There is no committed offset: kafka.start_at decides. A partition added after the topic was
//     first seen is read from its start. The resolved offset is committed before any record is
//     read.
//  2. The metadata names another incarnation of the topic: the new log is read from its start. The
//     offset belongs to the old log. It was committed before the topic was recreated, or later, by
//     topic name, by a member that had not yet detected the change. A group copied from another
//     cluster looks the same. There, the operator must reset the offsets, which clears the metadata
//     (see the runbook).
//  3. The leader reports that the epoch of the committed offset ends below it: the log was
//     truncated. The partition is rewound to the offset where the logs diverge.
//  4. The offset is beyond the end of the log for another reason. If the metadata names this
//     incarnation, records were lost, and the partition is rewound to the end of the log. Otherwise
//     the offset does not belong to this log, and kafka.start_at decides as if there were no
//     offset.
//  5. The offset is below the start of the log: the client continues at the start, and intake
//     counts the offsets in between as lost.
//
// Every rewind and every offset that does not apply is logged and counted, and drops the recorded
// cuts.

// start is the position at which a partition starts, and its commit state.
type start struct {
	topicPartition
	position
	cuts      []int64 // recorded cuts of an earlier owner beyond the offset
	metadata  string  // committed metadata
	recorded  topicID // topic ID in the metadata; zero if there is none
	committed bool    // the group has this offset; otherwise it must be committed first
	end       int64   // end offset of the log
}

// sourceID returns the topic ID for payload IDs and commit metadata. id is the current ID of the
// topic. Batches with recorded cuts may have been sent already, so they keep the ID that they were
// recorded with. That ID is zero if the brokers had no topic IDs at the time.
func (s *start) sourceID(id topicID) topicID {
	if len(s.cuts) > 0 || id == (topicID{}) {
		return s.recorded
	}
	return id
}

// bounds holds the bounds of the logs, as reported by the leaders.
type bounds struct {
	start, end map[topicPartition]position
	epochEnd   map[topicPartition]position // end of the epoch of the committed offset
}

// starter resolves the start positions of partitions for one session.
type starter struct {
	cfg     *Config
	topics  *topics
	ids     map[string]topicID // topic IDs of the session
	metrics *metrics
	log     *zap.Logger
}

// checkTopics returns errRecreated if a topic of the session was recreated. It retries until the
// brokers know all topics.
func (s *starter) checkTopics(ctx context.Context) error {
	return s.retry(ctx, func() error {
		found, err := s.topics.lookUp(ctx, slices.Collect(maps.Keys(s.ids))...)
		if err != nil {
			return err
		}
		for name, id := range s.ids {
			switch t := found[name]; {
			case t.err != nil:
				return fmt.Errorf("look up topic %s: %w", name, t.err)
			case t.id != id:
				return fmt.Errorf("topic %s: %w", name, errRecreated)
			}
		}
		return nil
	})
}

// errRecreated means that a topic was recreated since the session began.
var errRecreated = errors.New("recreated since the session began")

// resolve returns the start positions of the partitions in an OffsetFetch response.
func (s *starter) resolve(ctx context.Context, response *kmsg.OffsetFetchResponse) ([]start, error) {
	committed, err := s.parse(response)
	if err != nil || len(committed) == 0 {
		return nil, err
	}
	b, err := s.fetchBounds(ctx, committed)
	if err != nil {
		return nil, err
	}
	var starts []start
	var unset []topicPartition // partitions for which kafka.start_at decides
	for _, c := range committed {
		c.end = b.end[c.topicPartition].offset
		if s.resolveCommitted(&c, b) {
			starts = append(starts, c)
		} else {
			unset = append(unset, c.topicPartition)
		}
	}
	if len(unset) == 0 {
		return starts, nil
	}
	at, err := s.startAt(ctx, unset, b)
	if err != nil {
		return nil, err
	}
	s.log.Info("no committed offset; starting at kafka.start_at", zap.Int("partitions", len(unset)))
	for _, name := range unset {
		p := position{at[name].offset, -1}
		starts = append(starts, start{topicPartition: name, position: p, end: b.end[name].offset})
	}
	return starts, nil
}

// parse returns the committed offsets in a response. If a partition has none, its offset is -1.
// parse fails if any partition has an error, because the client does not fetch single offsets
// again.
func (s *starter) parse(response *kmsg.OffsetFetchResponse) (committed []start, err error) {
	names := make(map[topicID]string, len(s.ids))
	for name, id := range s.ids {
		names[id] = name
	}
	foreign := 0
	for _, group := range response.Groups {
		for _, t := range group.Topics {
			name := t.Topic
			if name == "" { // version 10 and later name topics by ID
				name = names[t.TopicID]
			}
			if _, ok := s.ids[name]; !ok {
				continue
			}
			for _, p := range t.Partitions {
				c := start{
					topicPartition: topicPartition{name, p.Partition},
					position:       position{p.Offset, p.LeaderEpoch},
					committed:      p.Offset >= 0,
				}
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("fetch the committed offset of %s: %w", c.topicPartition, err)
				}
				if c.committed && p.Metadata != nil {
					var err error
					if c.cuts, c.recorded, err = parseMetadata(p.Offset, *p.Metadata); err != nil {
						foreign++
					} else {
						c.metadata = *p.Metadata
					}
				}
				committed = append(committed, c)
			}
		}
	}
	if foreign > 0 {
		s.log.Info("ignoring commit metadata written by another client", zap.Int("partitions", foreign))
	}
	return committed, nil
}

// resolveCommitted applies rules 2 to 5 to a committed offset. It reports whether c is now the
// start position; otherwise kafka.start_at decides.
func (s *starter) resolveCommitted(c *start, b bounds) bool {
	if !c.committed {
		return false
	}
	id, first, end := s.ids[c.topic], b.start[c.topicPartition], b.end[c.topicPartition]
	current := c.recorded == id || c.recorded == (topicID{}) || id == (topicID{})
	sure := c.recorded == id && id != (topicID{})
	epochEnd, known := b.epochEnd[c.topicPartition]
	// An election that loses records begins a new epoch. If there are no topic IDs and the same
	// epoch ends early, it is a different log.
	truncated := known && epochEnd.offset < c.offset && (sure || epochEnd.epoch != end.epoch)
	switch {
	case !current:
		s.move(c, moveRecreated, position{first.offset, -1})
	case truncated:
		s.move(c, moveTruncated, position{max(epochEnd.offset, first.offset), epochEnd.epoch})
	case c.offset <= end.offset:
		return true
	case sure:
		s.move(c, moveTruncated, position{end.offset, -1})
	default:
		s.move(c, moveForeign, position{-1, -1})
		return false
	}
	return true
}

// move moves c from its committed offset to another position.
func (s *starter) move(c *start, cause string, to position) {
	s.metrics.moves.WithLabelValues(cause).Inc()
	s.log.Error("committed offset no longer in the log", zap.String("cause", cause),
		zap.String("topic", c.topic), zap.Int32("partition", c.partition),
		zap.Int64("offset", c.offset), zap.Int64("next_offset", to.offset))
	c.position, c.cuts, c.committed = to, nil, false
}

// Causes for moving a partition away from its committed offset, used as metric label values.
const (
	moveRecreated = "recreated"  // the topic was recreated
	moveTruncated = "truncated"  // the brokers lost the end of the log
	moveForeign   = "not_in_log" // the offset was committed for another log and is beyond the end of this one
)

// fetchBounds fetches the bounds of the logs from the leaders. It retries while a partition is
// unknown, for example because it was just added.
func (s *starter) fetchBounds(ctx context.Context, committed []start) (b bounds, err error) {
	partitions := make([]topicPartition, len(committed))
	epochs := map[topicPartition]int32{}
	for i, c := range committed {
		partitions[i] = c.topicPartition
		if c.committed && c.epoch >= 0 {
			epochs[c.topicPartition] = c.epoch
		}
	}
	err = s.retry(ctx, func() (err error) {
		if b.start, err = listOffsets(ctx, s.topics.admin, partitions, logStartTimestamp, readUncommitted); err != nil {
			return err
		}
		if len(epochs) > 0 {
			if b.epochEnd, err = endOfEpoch(ctx, s.topics.admin, epochs); err != nil {
				return err
			}
		}
		b.end, err = listOffsets(ctx, s.topics.admin, partitions, logEndTimestamp, readUncommitted)
		return err
	})
	return b, err
}

// startAt returns the positions at which kafka.start_at makes partitions start.
func (s *starter) startAt(
	ctx context.Context, partitions []topicPartition, b bounds,
) (at map[topicPartition]position, err error) {
	timestamp, isolation := int64(logStartTimestamp), int8(readUncommitted)
	switch start := s.cfg.Start; {
	case start.Latest:
		timestamp, isolation = logEndTimestamp, readCommitted
	case !start.Time.IsZero():
		timestamp = start.Time.UnixMilli()
	}
	err = s.retry(ctx, func() (err error) {
		at, err = listOffsets(ctx, s.topics.admin, partitions, timestamp, isolation)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range partitions {
		known := s.topics.firstSeen(name.topic)
		switch {
		case known.recreated || name.partition >= known.partitions:
			at[name] = b.start[name]
		case at[name].offset < 0: // all records are older than kafka.start_at
			at[name] = b.end[name]
		}
	}
	return at, nil
}

// retry calls do until it succeeds, fails permanently, startPatience has passed, or ctx is done.
func (s *starter) retry(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(startPatience)
	for {
		err := do()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) || !isRetriable(err) {
			return err
		}
		select {
		case <-time.After(startInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const (
	startPatience = 10 * time.Second       // time until a partition unknown to the brokers ends the session
	startInterval = 250 * time.Millisecond // between retries
)

// isRetriable reports whether a retry of a failed lookup may succeed soon.
func isRetriable(err error) bool {
	for _, permanent := range []error{
		errRecreated, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.UnsupportedVersion,
	} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	return true
}

// missing returns the assigned partitions that have no start position.
func missing(assigned map[topicPartition]bool, starts []start) (names []topicPartition) {
	for name := range assigned {
		if !slices.ContainsFunc(starts, func(s start) bool { return s.topicPartition == name }) {
			names = append(names, name)
		}
	}
	return names
}

// errMissing returns the error for partitions whose committed offset could not be fetched.
func errMissing(names []topicPartition) error {
	return fmt.Errorf("fetch committed offsets: %d assigned partitions missing from the response, including %s",
		len(names), names[0])
}

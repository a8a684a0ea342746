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
// the log bounds that the leader reports, and the known topics. Records already read never affect
// the decision. A session that reads an unexpected offset ends, and the next session decides again.
// The rules apply in this order:
//
//  1. If there is no committed offset, kafka.start_at decides. However, a partition added after the
//     topic was first seen, and every partition of a recreated topic, is read from the log start.
//     The start offset is committed before any record is read.
//  2. If the commit metadata names another incarnation of the topic, the current log is read from
//     its start. The committed offset belongs to the old log: it was committed before the topic was
//     recreated, or by a member that had not yet detected the recreation. Offsets copied from
//     another cluster look the same. In that case, the operator must reset the offsets, which
//     clears the metadata (see the runbook).
//  3. If the leader reports that the committed leader epoch ends below the committed offset, the
//     log was truncated. The partition is rewound to the end of that epoch, where the old and new
//     logs diverge. This rule does not apply if that epoch is still the newest and the metadata
//     does not contain the topic's current ID.
//  4. If the committed offset is beyond the log end and rule 3 does not apply, the topic ID in the
//     metadata decides. If the ID names this incarnation, records were lost, and the partition is
//     rewound to the log end. Otherwise, the offset does not belong to this log, and kafka.start_at
//     decides as in rule 1.
//  5. If the committed offset is below the log start, the client continues at the log start, and
//     intake counts the offsets in between as lost.
//
// If rule 2, 3, or 4 changes the offset, the change is logged and counted, and the recorded cuts
// are dropped.

// start is a partition's start position and commit state.
type start struct {
	topicPartition
	position
	cuts      []int64 // an earlier owner's recorded cuts beyond the offset
	metadata  string  // committed metadata
	recorded  topicID // topic ID in the metadata; zero if there is none
	committed bool    // the offset is committed in the group; if not, it must be committed before reading
	end       int64   // end offset of the log
	until     *int64  // where reading ends; nil for no bound
}

// sourceID returns the topic ID for payload IDs and commit metadata. id is the topic's current ID.
// Batches with recorded cuts may already have been sent, so they keep the recorded topic ID, which
// is zero if the brokers had no topic IDs at the time. The recorded ID is also used if id is zero.
func (s *start) sourceID(id topicID) topicID {
	if len(s.cuts) > 0 || id == (topicID{}) {
		return s.recorded
	}
	return id
}

// bounds holds the log bounds reported by the leaders.
type bounds struct {
	start, end map[topicPartition]position
	epochEnd   map[topicPartition]position // end of the committed leader epoch
}

// starter resolves the start positions of a session's partitions.
type starter struct {
	cfg     *Config
	topics  *topics
	ids     map[string]topicID // IDs of the session's topics
	metrics *metrics
	log     *zap.Logger
}

// checkTopics returns errRecreated if one of the session's topics was recreated. It retries failed
// lookups, for example while the brokers do not know all topics.
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

// parse returns the committed offsets in a response, or -1 for partitions without a committed
// offset. It fails if any partition has an error, because the client does not refetch the offsets
// of single partitions.
func (s *starter) parse(response *kmsg.OffsetFetchResponse) (committed []start, err error) {
	names := make(map[topicID]string, len(s.ids))
	for name, id := range s.ids {
		names[id] = name
	}
	foreign := 0
	for _, group := range response.Groups {
		for _, t := range group.Topics {
			name := t.Topic
			if name == "" { // OffsetFetch version 10 and later identify topics by ID
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

// resolveCommitted applies rules 2 to 5 to a committed offset, and reports whether c is now the
// start position. If not, kafka.start_at decides.
func (s *starter) resolveCommitted(c *start, b bounds) bool {
	if !c.committed {
		return false
	}
	id, first, end := s.ids[c.topic], b.start[c.topicPartition], b.end[c.topicPartition]
	current := c.recorded == id || c.recorded == (topicID{}) || id == (topicID{})
	sure := c.recorded == id && id != (topicID{})
	epochEnd, known := b.epochEnd[c.topicPartition]
	// A leader election that loses records begins a new epoch. If the committed epoch is still the
	// newest but ends below the committed offset, the offset therefore belongs to another log,
	// unless the topic IDs match.
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

// move replaces c's committed offset with another start position, and logs and counts the change.
func (s *starter) move(c *start, cause string, to position) {
	s.metrics.moves.WithLabelValues(cause).Inc()
	s.log.Error("committed offset no longer in the log", zap.String("cause", cause),
		zap.String("topic", c.topic), zap.Int32("partition", c.partition),
		zap.Int64("offset", c.offset), zap.Int64("next_offset", to.offset))
	c.position, c.cuts, c.committed = to, nil, false
}

// These metric label values give the reason that a partition did not start at its committed offset.
const (
	moveRecreated = "recreated"  // the topic was recreated
	moveTruncated = "truncated"  // the brokers lost the end of the log
	moveForeign   = "not_in_log" // the offset belongs to another log and is beyond the end of this one
)

// fetchBounds fetches the log bounds from the leaders. It retries failed requests, for example
// while the brokers do not know a newly added partition.
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

// startAt returns the start positions selected by kafka.start_at.
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

// retry calls the function do until it succeeds or fails permanently, startPatience has passed, or
// ctx is done.
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
	startPatience = 10 * time.Second       // how long lookups are retried before the session ends
	startInterval = 250 * time.Millisecond // between retries
)

// isRetriable reports whether a failed lookup may soon succeed if it is retried.
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

// missing returns the assigned partitions without a start position.
func missing(assigned map[topicPartition]bool, starts []start) (names []topicPartition) {
	for name := range assigned {
		if !slices.ContainsFunc(starts, func(s start) bool { return s.topicPartition == name }) {
			names = append(names, name)
		}
	}
	return names
}

// errMissing returns the error for assigned partitions missing from the OffsetFetch response.
func errMissing(names []topicPartition) error {
	return fmt.Errorf("fetch committed offsets: %d assigned partitions missing from the response, including %s",
		len(names), names[0])
}

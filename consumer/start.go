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

// Where a partition starts is decided here and nowhere else, from what the group has committed, what
// the leader says of the log, and what is known of the topic. Nothing is inferred from the offsets of
// records: a session that reads an offset it did not expect ends, and the next one decides here again.
//
//  1. No committed offset: kafka.start_at. A partition that was added since the topic was first seen
//     is read from its start. The resolved offset is committed before anything is read.
//  2. The metadata names another incarnation of the topic. The offset is the old log's, committed before
//     the topic was recreated or, by name, by a member that had not noticed it yet. The new log is read
//     from its start. A group that is carried to another cluster leaves the same trace; its offsets must
//     be set again there, which clears the metadata (see the runbook).
//  3. The leader says that the epoch of the committed offset ends below it: the log was truncated, and
//     the partition is rewound to where the logs part.
//  4. The offset is beyond the end of the log all the same. If the metadata names this incarnation,
//     records were lost, and the partition is rewound to the end of the log. Otherwise the offset is
//     not one of this log, and kafka.start_at decides as if there were none.
//  5. The offset is below the start of the log: the client continues at the start, and intake counts
//     the offsets between as lost.
//
// Every rewind and every offset that does not count is logged, counted, and leaves the cuts behind.

// start is where a partition starts.
type start struct {
	topicPartition
	position
	cuts      []int64 // recorded by an earlier owner, beyond the offset
	metadata  string  // as it is committed
	recorded  topicID // named by the metadata; zero if it names none
	committed bool    // the group has this offset; otherwise it is to be committed first
	end       int64   // end of the log
}

// sourceID returns the topic ID that goes into payload IDs and commit metadata; id is the topic's.
// Recorded cuts belong to batches that may have been sent, so those are formed under the ID that they
// were recorded with, even if that is none because the brokers had no topic IDs then.
func (s *start) sourceID(id topicID) topicID {
	if len(s.cuts) > 0 || id == (topicID{}) {
		return s.recorded
	}
	return id
}

// bounds is what the leaders say of the logs of the partitions that start.
type bounds struct {
	start, end map[topicPartition]position
	epochEnd   map[topicPartition]position // where the epoch of the committed offset ends
}

// starter resolves starts for one session.
type starter struct {
	cfg     *Config
	topics  *topics
	ids     map[string]topicID // of the session's topics
	metrics *metrics
	log     *zap.Logger
}

// checkTopics returns errRecreated if a topic is not the one that the session consumes. It asks again
// until the brokers know all topics.
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

// errRecreated means that a topic was deleted and created again since the session began.
var errRecreated = errors.New("deleted and created again")

// resolve returns the starts of the partitions in an OffsetFetch response.
func (s *starter) resolve(ctx context.Context, response *kmsg.OffsetFetchResponse) ([]start, error) {
	committed, err := s.parse(response)
	if err != nil || len(committed) == 0 {
		return nil, err
	}
	b, err := s.look(ctx, committed)
	if err != nil {
		return nil, err
	}
	var starts []start
	var unset []topicPartition // those for which start_at decides
	for _, c := range committed {
		c.end = b.end[c.topicPartition].offset
		if s.settle(&c, b) {
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
	s.log.Info("no committed offset, starting where kafka.start_at says", zap.Int("partitions", len(unset)))
	for _, name := range unset {
		p := position{at[name].offset, -1}
		starts = append(starts, start{topicPartition: name, position: p, end: b.end[name].offset})
	}
	return starts, nil
}

// parse reads the response. A start without an offset has offset -1. The error of one partition is the
// error of all, because the client does not fetch the offset again.
func (s *starter) parse(response *kmsg.OffsetFetchResponse) (committed []start, err error) {
	names := make(map[topicID]string, len(s.ids))
	for name, id := range s.ids {
		names[id] = name
	}
	foreign := 0
	for _, group := range response.Groups {
		for _, t := range group.Topics {
			name := t.Topic
			if name == "" { // from version 10 on, the broker names topics by ID
				name = names[t.TopicID]
			}
			if _, ok := s.ids[name]; !ok {
				continue
			}
			for _, p := range t.Partitions {
				c := start{
					topicPartition: topicPartition{name, p.Partition},
					position:       position{p.Offset, p.LeaderEpoch}, committed: p.Offset >= 0,
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

// settle decides where a partition with the committed offset c starts. It reports whether the offset
// counts; otherwise start_at decides.
func (s *starter) settle(c *start, b bounds) bool {
	if !c.committed {
		return false
	}
	id, first, end := s.ids[c.topic], b.start[c.topicPartition], b.end[c.topicPartition]
	ours := c.recorded == id || c.recorded == (topicID{}) || id == (topicID{})
	sure := c.recorded == id && id != (topicID{})
	epochEnd, known := b.epochEnd[c.topicPartition]
	// An election after which records are missing begins a new epoch. A log without topic IDs that
	// ends early in the same epoch is another log.
	truncated := known && epochEnd.offset < c.offset && (sure || epochEnd.epoch != end.epoch)
	switch {
	case !ours:
		s.moved(c, moveRecreated, position{first.offset, -1})
	case truncated:
		s.moved(c, moveTruncated, position{max(epochEnd.offset, first.offset), epochEnd.epoch})
	case c.offset <= end.offset:
		return true
	case sure:
		s.moved(c, moveTruncated, position{end.offset, -1})
	default:
		s.moved(c, moveForeign, position{-1, -1})
		return false
	}
	return true
}

// moved starts c elsewhere than at its committed offset.
func (s *starter) moved(c *start, cause string, to position) {
	s.metrics.moves.WithLabelValues(cause).Inc()
	s.log.Error("committed offset is not in the log any more", zap.String("cause", cause),
		zap.String("topic", c.topic), zap.Int32("partition", c.partition), zap.Int64("offset", c.offset), zap.Int64("next_offset", to.offset))
	c.position, c.cuts, c.committed = to, nil, false
}

// Why a partition does not start at its committed offset, as a metric label.
const (
	moveRecreated = "recreated"  // the topic was deleted and created again
	moveTruncated = "truncated"  // the brokers lost the end of the log
	moveForeign   = "not_in_log" // beyond the end of a log that it was not committed for
)

// look asks the leaders for the bounds of the logs, again until ctx is done while a partition is not
// known yet, as one that was just added.
func (s *starter) look(ctx context.Context, committed []start) (b bounds, err error) {
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

// startAt returns where start_at has partitions start that have no committed offset.
func (s *starter) startAt(ctx context.Context, partitions []topicPartition, b bounds) (at map[topicPartition]position, err error) {
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
		case at[name].offset < 0: // no record is as new as start_at
			at[name] = b.end[name]
		}
	}
	return at, nil
}

// retry calls do until it succeeds or startPatience has passed.
func (s *starter) retry(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(startPatience)
	for {
		err := do()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) || !retriableLook(err) {
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
	startPatience = 10 * time.Second       // how long a partition may be unknown to the brokers before the session ends
	startInterval = 250 * time.Millisecond // between two looks
)

// retriableLook reports whether the same question may have an answer soon.
func retriableLook(err error) bool {
	for _, code := range []error{errRecreated, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.UnsupportedVersion} {
		if errors.Is(err, code) {
			return false
		}
	}
	return true
}

// missing returns the partitions that were assigned and have no start.
func missing(assigned map[topicPartition]bool, starts []start) (names []topicPartition) {
	for name := range assigned {
		if !slices.ContainsFunc(starts, func(s start) bool { return s.topicPartition == name }) {
			names = append(names, name)
		}
	}
	return names
}

// errMissing is the error of partitions whose offset could not be fetched.
func errMissing(names []topicPartition) error {
	return fmt.Errorf("no offset for %d assigned partitions, among them %s", len(names), names[0])
}

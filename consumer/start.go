package consumer

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// fetchedOffset is where a partition starts.
type fetchedOffset struct {
	topicPartition
	topicID   kadm.TopicID
	committed bool // else resolved from Config.Start
	fresh     bool // not committed, and came into being after we began: to be read from its start
	offset    int64
	epoch     int32
	cuts      []int64 // recorded beyond offset
}

// fetched reads the offsets and cuts that the group committed and resolves those
// that are missing.
func (c *Consumer) fetched(ctx context.Context, response *kmsg.OffsetFetchResponse) ([]fetchedOffset, error) {
	topics, err := c.admin.ListTopics(ctx, c.cfg.Topics...)
	if err != nil {
		return nil, fmt.Errorf("read the topics' IDs: %w", err)
	}
	names := make(map[kadm.TopicID]string, len(topics))
	known := make(map[string]knownTopic, len(topics))
	for name, t := range topics {
		if t.Err == nil {
			names[t.ID] = name
			known[name] = c.know(t)
		}
	}

	var all []fetchedOffset
	foreign, other, missing := 0, 0, 0
	for _, group := range response.Groups {
		for _, t := range group.Topics {
			name := t.Topic
			if name == "" { // from version 10 on, the broker names topics by ID
				name = names[t.TopicID]
			}
			if detail, ok := topics[name]; !ok || detail.Err != nil { // without its ID nothing of it can be delivered
				continue
			}
			for _, p := range t.Partitions {
				if kerr.ErrorForCode(p.ErrorCode) != nil {
					continue // the client tells of it in a poll
				}
				f := fetchedOffset{
					topicPartition: topicPartition{name, p.Partition}, topicID: topics[name].ID,
					committed: p.Offset >= 0, offset: p.Offset, epoch: p.LeaderEpoch,
				}
				again := known[name].again || known[name].id != f.topicID
				if f.committed && p.Metadata != nil {
					var mark string
					if f.cuts, mark, err = parseCuts(p.Offset, *p.Metadata); err != nil {
						foreign++
					} else if mark != "" && mark != topicMark(f.topicID) { // of another log
						f.committed, f.cuts = !again, nil
						other++
					}
				}
				if !f.committed {
					missing++
					f.fresh = again || p.Partition >= known[name].partitions
				}
				all = append(all, f)
			}
		}
	}
	if foreign > 0 {
		c.log.Info("committed offsets carry metadata that holds no cuts; starting from the offsets alone", zap.Int("partitions", foreign))
	}
	if other > 0 {
		c.log.Warn("committed offsets are of a topic with the same name and another ID; they are trusted if it was not created again while this member ran: "+
			"if it was created again before, and the group was not carried here from another cluster, reset them", zap.Int("partitions", other))
	}
	if missing == 0 {
		return all, nil
	}
	return all, c.resolve(ctx, all)
}

// resolve sets the offsets of partitions without a committed one. Where to start is
// meant for what was there when the topic was first seen: a partition that was added
// since, or is of a topic that was created again, is read from its start.
func (c *Consumer) resolve(ctx context.Context, all []fetchedOffset) error {
	listed, err := c.admin.ListStartOffsets(ctx, c.cfg.Topics...)
	starts := listed
	switch start := c.cfg.Start; {
	case err != nil:
	case start.Latest:
		listed, err = c.admin.ListCommittedOffsets(ctx, c.cfg.Topics...)
	case !start.Time.IsZero():
		listed, err = c.admin.ListOffsetsAfterMilli(ctx, start.Time.UnixMilli(), c.cfg.Topics...)
	}
	if err != nil {
		return fmt.Errorf("find where to start: %w", err)
	}
	for i := range all {
		f := &all[i]
		if f.committed {
			continue
		}
		o, ok := listed.Lookup(f.topic, f.partition)
		if f.fresh {
			o, ok = starts.Lookup(f.topic, f.partition)
		}
		if !ok || o.Err != nil {
			return fmt.Errorf("find where to start in topic %s, partition %d: %w", f.topic, f.partition, o.Err)
		}
		f.offset, f.epoch = o.Offset, -1
		c.log.Info("no committed offset, starting as start_at says", zap.String("topic", f.topic), zap.Int32("partition", f.partition), zap.Int64("offset", f.offset))
	}
	return nil
}

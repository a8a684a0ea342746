package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// topicInfo is the brokers' description of a topic.
type topicInfo struct {
	id         topicID // zero if the brokers have no topic IDs
	partitions int32   // number of partitions
	err        error   // error for this topic, for example if it does not exist or access is denied
}

// topics looks up topics and remembers them across sessions. It is safe for concurrent use.
type topics struct {
	cfg         *Config
	admin       *kgo.Client
	health      *health
	recreations prometheus.Counter
	log         *zap.Logger

	mu    sync.Mutex // guards the fields below
	known map[string]knownTopic
}

// knownTopic describes a topic as first seen, or as first seen after it was recreated.
type knownTopic struct {
	id         topicID
	partitions int32 // number of partitions; 0 if the topic was recreated
	recreated  bool  // the topic was recreated since the consumer started

	config topicConfig
}

// lookUp fetches topics from the brokers and remembers the existing ones. A topic whose ID differs
// from the known ID counts as recreated. If the brokers send no ID, lookUp keeps the known one.
// lookUp returns an error only if the whole request fails. Errors for single topics are in their
// topicInfo.
func (t *topics) lookUp(ctx context.Context, names ...string) (map[string]topicInfo, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, t.admin)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			advice, cause := Unreachable(err, t.cfg.TLS, t.cfg.SASL)
			t.health.report(subjectBrokers, failure("cannot reach the brokers", cause, advice))
		}
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	t.health.resolve(subjectBrokers)
	found := make(map[string]topicInfo, len(names))
	for _, topic := range response.Topics {
		if topic.Topic == nil {
			continue
		}
		info := topicInfo{
			id: topic.TopicID, partitions: int32(len(topic.Partitions)), err: kerr.ErrorForCode(topic.ErrorCode),
		}
		if info.err == nil {
			info.id = t.remember(*topic.Topic, info)
		}
		found[*topic.Topic] = info
	}
	for _, name := range names {
		if _, ok := found[name]; !ok {
			found[name] = topicInfo{err: kerr.UnknownTopicOrPartition}
		}
	}
	return found, nil
}

// remember stores an existing topic and returns its ID. If the brokers sent no ID, remember returns
// the known one. It also counts and logs recreations.
func (t *topics) remember(name string, info topicInfo) topicID {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, seen := t.known[name]
	switch {
	case !seen:
		known = knownTopic{id: info.id, partitions: info.partitions}
	case info.id == topicID{} || info.id == known.id:
	case known.id == topicID{}:
		known.id = info.id
	default:
		known = knownTopic{id: info.id, recreated: true}
		t.recreations.Inc()
		t.log.Error("topic recreated; undelivered records of the old topic are lost", zap.String("topic", name))
	}
	t.known[name] = known
	return known.id
}

// firstSeen returns a topic as first seen; see knownTopic.
func (t *topics) firstSeen(name string) knownTopic {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[name]
}

// report reports err as a problem with a topic. If err is nil, report resolves the problem.
func (t *topics) report(kind, name string, err error, advice func(error) string) {
	subject := kind + " " + name
	switch {
	case err == nil:
		t.health.resolve(subject)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		t.health.report(subject, problem{
			message: kind + " not found", text: subject + " does not exist", advice: advice(err),
			fields: []zap.Field{zap.String("topic", name)},
		})
	default:
		t.health.report(subject, problem{
			message: kind + " not accessible", text: "cannot access " + subject + ": " + err.Error(), advice: advice(err),
			fields: []zap.Field{zap.String("topic", name), zap.Error(err)},
		})
	}
}

// listOffsets returns the offsets and leader epochs that the partition leaders report for a
// timestamp. The timestamp is logStartTimestamp, logEndTimestamp, or a Unix time in milliseconds.
// listOffsets fails if any partition fails.
func listOffsets(
	ctx context.Context, client *kgo.Client, partitions []topicPartition, timestamp int64, isolation int8,
) (map[topicPartition]position, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.IsolationLevel = isolation
	eachTopic(partitions, func(topic string, numbers []int32) {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, number := range numbers {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = number, timestamp
			t.Partitions = append(t.Partitions, p)
		}
		request.Topics = append(request.Topics, t)
	})
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	listed := make(map[topicPartition]position, len(partitions))
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			name := topicPartition{t.Topic, p.Partition}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("list offsets of %s: %w", name, err)
			}
			listed[name] = position{p.Offset, p.LeaderEpoch}
		}
	}
	for _, name := range partitions {
		if _, ok := listed[name]; !ok {
			return nil, fmt.Errorf("list offsets of %s: partition missing from the response", name)
		}
	}
	return listed, nil
}

const (
	logEndTimestamp   = -1
	logStartTimestamp = -2

	readUncommitted = 0 // the log ends at the high watermark
	readCommitted   = 1 // the log ends at the last stable offset
)

// endOfEpoch returns the end offset of the given leader epoch for each partition in epochs. It
// omits partitions whose leader does not know the epoch.
func endOfEpoch(
	ctx context.Context, client *kgo.Client, epochs map[topicPartition]int32,
) (map[topicPartition]position, error) {
	partitions := make([]topicPartition, 0, len(epochs))
	for name := range epochs {
		partitions = append(partitions, name)
	}
	request := kmsg.NewPtrOffsetForLeaderEpochRequest()
	request.ReplicaID = -1
	eachTopic(partitions, func(topic string, numbers []int32) {
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = topic
		for _, number := range numbers {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = number, -1, epochs[topicPartition{topic, number}]
			t.Partitions = append(t.Partitions, p)
		}
		request.Topics = append(request.Topics, t)
	})
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("fetch the end offsets of leader epochs: %w", err)
	}
	ends := make(map[topicPartition]position, len(epochs))
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			name := topicPartition{t.Topic, p.Partition}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("fetch the leader epoch's end offset for %s: %w", name, err)
			}
			if p.EndOffset >= 0 {
				ends[name] = position{p.EndOffset, p.LeaderEpoch}
			}
		}
	}
	return ends, nil
}

// eachTopic calls f once per topic with the topic's partition numbers.
func eachTopic(partitions []topicPartition, f func(topic string, numbers []int32)) {
	byTopic := map[string][]int32{}
	for _, name := range partitions {
		byTopic[name.topic] = append(byTopic[name.topic], name.partition)
	}
	for topic, numbers := range byTopic {
		f(topic, numbers)
	}
}

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

// topicInfo is what the brokers say of a topic.
type topicInfo struct {
	id         topicID // zero where brokers have no topic IDs
	partitions int32
	err        error // of this topic alone: it does not exist, or must not be seen
}

// topics is what the consumer remembers of its topics from one session to the next. It is safe for
// concurrent use.
type topics struct {
	admin       *kgo.Client
	health      *health
	recreations prometheus.Counter
	log         *zap.Logger

	mu    sync.Mutex // guards the fields below
	known map[string]knownTopic
}

// knownTopic is a topic as it was when it was first seen, or first seen after it was recreated.
type knownTopic struct {
	id         topicID
	partitions int32
	recreated  bool // it was deleted and created again since the consumer started
}

// lookUp asks the brokers for topics and remembers those that exist. A topic whose ID is not the known
// one was recreated; an unknown ID is no evidence of that, and the known one is kept. The error is
// that of the brokers; that of a single topic is in its topicInfo.
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
			t.health.report(subjectBrokers, "cannot reach the brokers: "+err.Error())
		}
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	t.health.resolve(subjectBrokers)
	found := make(map[string]topicInfo, len(names))
	for _, topic := range response.Topics {
		if topic.Topic == nil {
			continue
		}
		info := topicInfo{id: topic.TopicID, partitions: int32(len(topic.Partitions)), err: kerr.ErrorForCode(topic.ErrorCode)}
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

// remember notes a topic that exists and returns its ID, the known one if the brokers sent none.
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
		t.log.Error("topic was deleted and created again; starting over with it, and what was not delivered of the old one is lost", zap.String("topic", name))
	}
	t.known[name] = known
	return known.id
}

// firstSeen returns a topic as it was first seen.
func (t *topics) firstSeen(name string) knownTopic {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[name]
}

// report notes whether a topic can be used, as a problem or the end of one.
func (t *topics) report(kind, name string, err error, advise func(error) string) {
	subject := kind + " " + name
	switch {
	case err == nil:
		t.health.resolve(subject)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		t.health.report(subject, subject+" does not exist")
	default:
		t.health.report(subject, subject+": "+advise(err))
	}
}

// listOffsets returns the offsets, with their leader epochs, that the leaders list for a timestamp:
// one of the constants below, or Unix milliseconds. An error of any partition is the error of all.
func listOffsets(ctx context.Context, client *kgo.Client, partitions []topicPartition, timestamp int64, isolation int8) (map[topicPartition]position, error) {
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
			return nil, fmt.Errorf("list offsets of %s: no broker responded for it", name)
		}
	}
	return listed, nil
}

const (
	logEndTimestamp   = -1
	logStartTimestamp = -2

	readUncommitted = 0 // the log end is the high watermark
	readCommitted   = 1 // the log end is the last stable offset
)

// endOfEpoch returns where the log of each partition ends the leader epoch that is given with it. It
// leaves out partitions whose leader does not know the epoch.
func endOfEpoch(ctx context.Context, client *kgo.Client, epochs map[topicPartition]int32) (map[topicPartition]position, error) {
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
		return nil, fmt.Errorf("ask where leader epochs end: %w", err)
	}
	ends := make(map[topicPartition]position, len(epochs))
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			name := topicPartition{t.Topic, p.Partition}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("ask where a leader epoch of %s ends: %w", name, err)
			}
			if p.EndOffset >= 0 {
				ends[name] = position{p.EndOffset, p.LeaderEpoch}
			}
		}
	}
	return ends, nil
}

// eachTopic calls f once for each topic among partitions, with their numbers.
func eachTopic(partitions []topicPartition, f func(topic string, numbers []int32)) {
	byTopic := map[string][]int32{}
	for _, name := range partitions {
		byTopic[name.topic] = append(byTopic[name.topic], name.partition)
	}
	for topic, numbers := range byTopic {
		f(topic, numbers)
	}
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
)

// watchLoop looks, until ctx is done, for what the client does not tell: topics
// that do not exist, without which the member does not even join; topics that were
// deleted and created again, which stall; and the ends of the logs, without which
// the lag of a partition that is not fetched would stand still.
func (c *Consumer) watchLoop(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		lookCtx, cancel := context.WithTimeout(ctx, watchInterval)
		c.look(lookCtx)
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *Consumer) look(ctx context.Context) {
	for _, topic := range c.cfg.Topics {
		t, ok := c.detail(ctx, topic)
		if !ok {
			return
		}
		if c.exists("topic", t, advise) {
			c.same(t)
		}
	}
	if topic := c.cfg.DeadLetterTopic; topic != "" {
		if t, ok := c.detail(ctx, topic); ok {
			c.exists("dead-letter topic", t, adviseLetter)
		}
	}
	asked := time.Now()
	ends, err := c.admin.ListCommittedOffsets(ctx, c.cfg.Topics...) // the last stable offsets
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.partitions {
		if o, ok := ends.Lookup(name.topic, name.partition); ok && o.Err == nil {
			p.end, p.leaderEnd, p.asked = o.Offset, o.Offset, asked
		}
	}
}

// ends says whether a partition's log ended where it has been taken up to, or before,
// when the leader was asked, since the open range was opened. A fetch does not tell:
// a replica that lags behind, or was elected a moment ago, sees an earlier end.
func (c *Consumer) ends(p *partition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.asked.After(p.open.opened) && p.leaderEnd <= p.next
}

// detail asks for one topic. It notes whether the brokers answer. Each topic is asked for by itself, because one that
// may not be seen fails the whole question.
func (c *Consumer) detail(ctx context.Context, topic string) (t kadm.TopicDetail, ok bool) {
	topics, err := c.admin.ListTopics(ctx, topic)
	var denied *kadm.AuthError
	switch {
	case errors.As(err, &denied):
		t = kadm.TopicDetail{Topic: topic, Err: denied.Err}
	case err == nil:
		t = topics[topic]
	case errors.Is(err, context.Canceled):
		return t, false
	default:
		c.problem("brokers", "cannot reach the brokers: "+err.Error())
		return t, false
	}
	c.solved("brokers")
	return t, true
}

// exists notes whether a topic is there and may be seen.
func (c *Consumer) exists(what string, t kadm.TopicDetail, advise func(error) string) bool {
	switch err := t.Err; {
	case err == nil:
		c.solved(what + " " + t.Topic)
		return true
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		c.problem(what+" "+t.Topic, fmt.Sprintf("%s %s does not exist", what, t.Topic))
	default:
		c.problem(what+" "+t.Topic, fmt.Sprintf("%s %s: %s", what, t.Topic, advise(err)))
	}
	return false
}

// same begins anew with a topic that was deleted and created again: the client has
// stopped reading it, and its offsets are another log's.
func (c *Consumer) same(t kadm.TopicDetail) {
	if c.know(t).id == t.ID {
		if c.returned(t.Topic) {
			c.startOver(t.Topic)
		}
		return
	}
	c.metrics.recreations.Inc()
	c.log.Error("topic was deleted and created again, starting over with it; what was not delivered of the old one is lost", zap.String("topic", t.Topic))
	var old []*partition
	c.mu.Lock()
	c.topics[t.Topic] = knownTopic{id: t.ID, again: true}
	delete(c.absent, t.Topic)
	for name, p := range c.partitions {
		if name.topic == t.Topic {
			old = append(old, p)
		}
	}
	c.mu.Unlock()
	c.disown(old) // nothing of the old log is to be committed for the new one
	c.startOver(t.Topic)
}

// knownTopic is a topic as it was when it was first seen.
type knownTopic struct {
	id         kadm.TopicID
	partitions int32
	again      bool // it was deleted and created again since
}

// know returns a topic as it was when it was first seen, which may be now.
func (c *Consumer) know(t kadm.TopicDetail) knownTopic {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.topics[t.Topic]
	if !ok {
		known = knownTopic{id: t.ID, partitions: int32(len(t.Partitions))}
		c.topics[t.Topic] = known
	}
	return known
}

// returned says whether partitions of a topic, which exists, were left out when they
// were assigned.
func (c *Consumer) returned(topic string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	absent := c.absent[topic]
	delete(c.absent, topic)
	return absent
}

// startOver has the client give topics up and take them again, with their offsets
// fetched anew.
func (c *Consumer) startOver(topics ...string) {
	c.client.PurgeTopicsFromConsuming(topics...)
	c.client.AddConsumeTopics(topics...)
}

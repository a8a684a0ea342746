//go:build linux

package chaos

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// ledger tracks one log, which is checked separately. A log is a topic or one incarnation of a
// recreated topic. Actions that inevitably cause losses or duplicates are applied only to separate
// topics, whose ledgers track the affected records.
type ledger struct {
	role     Action // action applied to the topic; empty for the main topic
	topic    string
	id       string // topic ID, encoded as in commit metadata
	number   int    // index in run.ledgers; determines the record numbers
	producer *producer
	stop     context.CancelFunc
	stopped  chan struct{} // closed when the producer has stopped

	deleted time.Time           // when the topic was deleted
	trims   []trim              // in chronological order
	unclean map[int32]time.Time // by partition: when a lagging replica was elected
	resets  []reset             // in chronological order
}

// trim describes a deletion of undelivered records.
type trim struct {
	time      time.Time
	partition int32
	next      int64 // first offset kept
}

// reset describes an operator's change to the group's offsets.
type reset struct {
	time time.Time
	from map[int32]int64 // by partition: offset from which the group must continue
	to   map[int32]int64 // by partition: offset committed before the reset
}

// ledgerSpan is the number of record numbers reserved for each ledger. It is a multiple of 400, the
// period at which record kinds repeat.
const ledgerSpan = 40_000_000

// ledgerOf returns the number of the ledger to which a record number belongs.
func ledgerOf(number int) int {
	if number < 0 {
		return 0
	}
	return number / ledgerSpan
}

// These constants apply to the separate topics.
const (
	sideRate       = 20 // records produced per second
	sidePartitions = 3
)

// roles lists the actions that have separate topics.
var roles = []Action{TrimAhead, Unclean, Recreate, Reset}

// topicFor returns the topic name for an action.
func (r *run) topicFor(role Action) string {
	return r.cfg.Name + map[Action]string{"": "", TrimAhead: "-trimmed", Unclean: "-unclean", Recreate: "-recreated",
		Reset: "-reset"}[role]
}

// topics returns the names of the topics consumed by the members.
func (r *run) topics() []string {
	all := []string{r.cfg.Name}
	for _, role := range roles {
		if r.planned(role) {
			all = append(all, r.topicFor(role))
		}
	}
	return all
}

// planned reports whether the plan contains the given action.
func (r *run) planned(do Action) bool {
	for _, s := range r.cfg.Plan {
		if s.Do == do {
			return true
		}
	}
	return false
}

// openLedger creates a topic and starts producing to it. Production ends when ctx is done or
// stopProducing is called.
func (r *run) openLedger(ctx context.Context, role Action) error {
	l := &ledger{
		role: role, topic: r.topicFor(role), number: len(r.ledgers), unclean: map[int32]time.Time{},
		stopped: make(chan struct{}),
	}
	brokers, count, rate := r.cfg.Cluster.Brokers(), int32(sidePartitions), sideRate
	var err error
	switch role {
	case "":
		count, rate = partitions, r.cfg.Rate
		err = kafkatest.CreateTopic(ctx, brokers, l.topic, count, nil)
	case Unclean:
		err = createUnclean(ctx, brokers, l.topic)
	default:
		err = kafkatest.CreateTopic(ctx, brokers, l.topic, count, nil)
	}
	if err != nil {
		return err
	}
	if l.id, err = topicID(ctx, r.admin, l.topic); err != nil {
		return err
	}
	if l.producer, err = newProducer(brokers, l.topic, l.number*ledgerSpan, count); err != nil {
		return err
	}
	producing, stop := context.WithCancel(ctx)
	l.stop = stop
	go func() {
		defer close(l.stopped)
		l.producer.run(producing, rate)
	}()
	r.ledgers = append(r.ledgers, l)
	return nil
}

// stopProducing stops the producer and waits until all records are acknowledged.
func (l *ledger) stopProducing() {
	l.stop()
	<-l.stopped
}

// current returns the newest ledger with the given role, or nil if there is none.
func (r *run) current(role Action) *ledger {
	for _, l := range slices.Backward(r.ledgers) {
		if l.role == role {
			return l
		}
	}
	return nil
}

// topicID returns a topic's ID. It waits until the broker knows the topic.
func topicID(ctx context.Context, admin *kadm.Client, topic string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		topics, err := admin.ListTopics(ctx, topic)
		if err == nil {
			err = topics[topic].Err
		}
		switch {
		case err == nil:
			id := topics[topic].ID
			return base64.RawURLEncoding.EncodeToString(id[:]), nil
		case ctx.Err() != nil, !errors.Is(err, kerr.UnknownTopicOrPartition):
			return "", fmt.Errorf("fetch the ID of topic %s: %w", topic, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// createUnclean creates a topic that allows unclean leader election. Partition p has two replicas,
// one on broker p and one on the next broker.
func createUnclean(ctx context.Context, brokers []string, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, -1, -1
	for p := range int32(sidePartitions) {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = p, []int32{p, (p + 1) % clusterSize}
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	for key, value := range map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"} {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = key, &value
		t.Configs = append(t.Configs, c)
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics = append(request.Topics, t)
	request.TimeoutMillis = 10_000
	response, err := request.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

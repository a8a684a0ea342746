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

// ledger is one log of a run, which is checked by itself: a topic, or one incarnation of a topic
// that is created again. The main topic is strict. What would make records missing or count again
// by definition is done to topics of their own, so that only their ledgers expect it, and only of
// the records concerned.
type ledger struct {
	role     Action // that is done to the topic; empty: the main topic
	topic    string
	id       string // topic ID, as commits have it
	number   int    // place in run.ledgers, from which the records' numbers follow
	producer *producer
	stop     context.CancelFunc
	stopped  chan struct{} // closed when the producer has ended

	deleted time.Time           // when the topic was deleted
	trims   []trim              // in the order of time
	unclean map[int32]time.Time // by partition: when a lagging replica was elected
	resets  []reset             // in the order of time
}

// trim is a deletion of records that were not all delivered.
type trim struct {
	time      time.Time
	partition int32
	next      int64 // the first that was kept
}

// reset is a change of the group's offsets by an operator.
type reset struct {
	time time.Time
	from map[int32]int64 // where the group must continue
	to   map[int32]int64 // what it had committed before
}

// ledgerSpan is how many numbers a ledger has for its records. The kinds of records repeat within
// it.
const ledgerSpan = 40_000_000

func ledgerOf(number int) int {
	if number < 0 {
		return 0
	}
	return number / ledgerSpan
}

// sideRate is how many records per second are produced to each topic but the main one, and
// sidePartitions how many partitions those topics have.
const (
	sideRate       = 20
	sidePartitions = 3
)

// roles are the actions that have topics of their own.
var roles = []Action{TrimAhead, Unclean, Recreate, Reset}

// topicFor returns the topic that an action is done to.
func (r *run) topicFor(role Action) string {
	return r.cfg.Name + map[Action]string{"": "", TrimAhead: "-trimmed", Unclean: "-unclean", Recreate: "-recreated", Reset: "-reset"}[role]
}

// topics returns the topics that members read.
func (r *run) topics() []string {
	all := []string{r.cfg.Name}
	for _, role := range roles {
		if r.planned(role) {
			all = append(all, r.topicFor(role))
		}
	}
	return all
}

func (r *run) planned(do Action) bool {
	for _, s := range r.cfg.Plan {
		if s.Do == do {
			return true
		}
	}
	return false
}

// open creates a topic and starts to produce to it until ctx is done.
func (r *run) open(ctx context.Context, role Action) error {
	l := &ledger{role: role, topic: r.topicFor(role), number: len(r.ledgers), unclean: map[int32]time.Time{}, stopped: make(chan struct{})}
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

// end stops the producer and returns when each record is acknowledged.
func (l *ledger) end() {
	l.stop()
	<-l.stopped
}

// current returns the ledger of a topic that is in use.
func (r *run) current(role Action) *ledger {
	for _, l := range slices.Backward(r.ledgers) {
		if l.role == role {
			return l
		}
	}
	return nil
}

// topicID returns the ID of a topic, once the broker that is asked knows the topic.
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
			return "", fmt.Errorf("find the ID of %s: %w", topic, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// createUnclean creates a topic in which a replica that lags may become the leader. Partition p has
// two replicas, on the brokers p and p+1.
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

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

// ledger tracks one log of a run, which is checked separately. A log is a topic, or one incarnation
// of a topic that is recreated. Actions that by definition make records missing or count again are
// applied only to separate topics. Their ledgers allow these effects, and only for the affected
// records.
type ledger struct {
	role     Action // action applied to the topic; empty for the main topic
	topic    string
	id       string // topic ID, in the encoding used by commits
	number   int    // index in run.ledgers, which determines the records' numbers
	producer *producer
	stop     context.CancelFunc
	stopped  chan struct{} // closed when the producer has stopped

	deleted time.Time           // when the topic was deleted
	trims   []trim              // in chronological order
	unclean map[int32]time.Time // by partition: when a lagging replica was elected
	resets  []reset             // in chronological order
}

// trim describes a deletion of records before all of them were delivered.
type trim struct {
	time      time.Time
	partition int32
	next      int64 // first offset that was kept
}

// reset describes a change of the group's offsets by an operator.
type reset struct {
	time time.Time
	from map[int32]int64 // by partition: where the group must continue
	to   map[int32]int64 // by partition: what the group had committed before
}

// ledgerSpan is the number of record numbers reserved for each ledger. It is a multiple of the
// period with which the kinds of records repeat.
const ledgerSpan = 40_000_000

// ledgerOf returns the number of the ledger that a record belongs to.
func ledgerOf(number int) int {
	if number < 0 {
		return 0
	}
	return number / ledgerSpan
}

// The separate topics have these properties.
const (
	sideRate       = 20 // records produced per second
	sidePartitions = 3
)

// roles lists the actions that have separate topics.
var roles = []Action{TrimAhead, Unclean, Recreate, Reset}

// topicFor returns the name of the topic that an action is applied to.
func (r *run) topicFor(role Action) string {
	return r.cfg.Name + map[Action]string{"": "", TrimAhead: "-trimmed", Unclean: "-unclean", Recreate: "-recreated",
		Reset: "-reset"}[role]
}

// topics returns the names of the topics that members consume.
func (r *run) topics() []string {
	all := []string{r.cfg.Name}
	for _, role := range roles {
		if r.planned(role) {
			all = append(all, r.topicFor(role))
		}
	}
	return all
}

// planned reports whether the plan contains an action.
func (r *run) planned(do Action) bool {
	for _, s := range r.cfg.Plan {
		if s.Do == do {
			return true
		}
	}
	return false
}

// openLedger creates a topic and produces to it until ctx is done.
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

// stopProducing stops the producer and waits until each record is acknowledged.
func (l *ledger) stopProducing() {
	l.stop()
	<-l.stopped
}

// current returns the newest ledger with a role, or nil if there is none.
func (r *run) current(role Action) *ledger {
	for _, l := range slices.Backward(r.ledgers) {
		if l.role == role {
			return l
		}
	}
	return nil
}

// topicID returns the ID of a topic. It waits until the broker knows the topic.
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

// createUnclean creates a topic in which a lagging replica may become the leader. Partition p has
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

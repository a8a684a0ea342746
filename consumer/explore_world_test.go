package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	topic   = "segment"
	group   = "forwarder"
	letters = "dead"

	brokers        = 3
	sessionTimeout = 10 * time.Second
)

// world consists of three embedded brokers and a fake LaunchDarkly on an in-memory network, in one
// synctest bubble.
type world struct {
	t       *testing.T
	rng     *rand.Rand // used only by the goroutine of the schedule
	started time.Time
	next    bool // members use the KIP-848 protocol
	letters bool // members have a dead-letter topic
	poison  bool // LaunchDarkly rejects some events
	old     bool // commits name topics by name instead of by ID

	net      kfake.VirtualNetwork
	cluster  *kfake.Cluster
	ld       *ldtest.Server
	pipe     *ldtest.Pipe
	server   *http.Server
	producer *kgo.Client
	history  *history
	topic    [16]byte // ID of the current incarnation
	events   int      // number of produced events
	records  int      // number of produced records
	unread   int      // number of deleted records, which members need not have read

	readMu sync.Mutex // guards the fields below; held while commits are read
	dirty  bool       // there may be stored commits that were not read yet
	began  int        // history entry of the last commit request

	seenMu sync.Mutex           // guards the fields below
	seen   map[string]time.Time // time of the last request by member ID
	// epochs maps each member ID to the highest epoch in its heartbeats. removedAt contains this
	// epoch for members that were removed and then added again.
	epochs, removedAt map[string]int32

	members []*member // running
	gone    []*member // killed or leaving
	names   int

	mu     sync.Mutex // guards the fields below
	log    []string
	broken map[string][]string // by invariant
}

func newWorld(t *testing.T, rng *rand.Rand, partitions int32) *world {
	w := &world{t: t, rng: rng, started: time.Now(), pipe: ldtest.NewPipe(), history: newHistory(),
		seen: map[string]time.Time{}, epochs: map[string]int32{}, removedAt: map[string]int32{},
		broken: map[string][]string{}}
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(brokers), kfake.ListenFn(w.net.Listen),
		kfake.Ports(9092, 9093, 9094),
		kfake.SeedTopics(partitions, topic), kfake.SeedTopics(1, letters),
		kfake.BrokerConfigs(map[string]string{
			"group.initial.rebalance.delay.ms":     "0",
			"group.consumer.heartbeat.interval.ms": "1000",
			"group.consumer.session.timeout.ms":    strconv.FormatInt(sessionTimeout.Milliseconds(), 10),
		}))
	if err != nil {
		t.Fatal(err)
	}
	w.cluster = cluster
	for p := range partitions { // kfake places leaders at random
		w.moveLeader(p, p%brokers)
	}
	w.topic = cluster.TopicInfo(topic).TopicID
	cluster.Control(w.onKafkaRequest)
	w.ld = ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), OnRequest: func(r ldtest.Request) {
		w.readCommits(false)
		w.history.addRequest(r)
	}})
	w.server = &http.Server{Handler: w.ld}
	go func() { _ = w.server.Serve(w.pipe) }()
	w.connectProducer()
	return w
}

func (w *world) close() {
	w.producer.Close()
	w.server.Close()
	w.pipe.Close()
	w.cluster.Close()
}

// note adds a line to the fault log.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%9.3f  ", time.Since(w.started).Seconds())+fmt.Sprintf(format, args...))
}

// reportBroken records that an invariant is broken.
func (w *world) reportBroken(invariant, detail string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[invariant] = append(w.broken[invariant], detail)
}

// ends returns the end offsets and the committed offsets of all partitions.
func (w *world) ends() (ends, committed map[int32]int64) {
	ends, committed = map[int32]int64{}, map[int32]int64{}
	for _, p := range w.cluster.PartitionInfos(topic) {
		ends[p.Partition] = p.HighWatermark
	}
	if info := w.cluster.GroupInfo(group); info != nil {
		for number, c := range info.Commits[topic] {
			committed[number] = c.Offset
		}
	}
	return ends, committed
}

// moveLeader moves the leader of a partition to a node.
func (w *world) moveLeader(p, node int32) {
	if err := w.cluster.MoveTopicPartition(topic, p, node); err != nil {
		w.t.Error(err)
	}
}

// client returns a client that bypasses the networks of the members.
func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.cluster.ListenAddrs()...),
		kgo.Dialer(w.net.DialContext))...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

// connectProducer starts a new producer without metadata of earlier incarnations of the topic. It
// sets AllowAutoTopicCreation so that Metadata faults can recognize and skip its requests.
func (w *world) connectProducer() {
	if w.producer != nil {
		w.producer.Close()
	}
	w.producer = w.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.UnknownTopicRetries(-1), kgo.DisableIdempotentWrite())
}

// produce writes n records to random partitions.
func (w *world) produce(n int) {
	partitions := len(w.cluster.PartitionInfos(topic))
	for range n {
		var numbers []int
		add := func(e event, properties, name string) string {
			number := w.events
			w.events++
			w.history.addEvent(number, e)
			numbers = append(numbers, number)
			return fmt.Sprintf(`{"type":"track","event":%q,"userId":"u%d","timestamp":"2026-01-02T03:04:05Z",`+
				`"properties":{"n":%d,"value":1.5%s}}`, name, number%97, number, properties)
		}
		good := func() string { return add(event{inBody: true}, "", "e") }
		var value string
		switch k := w.rng.IntN(100); {
		case k < 15:
			value = `{"type":"page","userId":"u","properties":{}}`
		case k < 20:
			value = "[" + good() + "," + good() + "]"
		case k < 22:
			value = add(event{never: true}, "", "") // without an event name
		case k < 23 && w.poison:
			value = add(event{never: true, inBody: true}, `,"poison":true`, "e")
		default:
			value = good()
		}
		w.records++
		w.producer.Produce(context.Background(),
			&kgo.Record{Partition: int32(w.rng.IntN(partitions)), Value: []byte(value)},
			func(r *kgo.Record, err error) {
				if err != nil {
					w.t.Errorf("produce: %v", err)
					return
				}
				for _, number := range numbers {
					w.history.locate(number, place{w.topic, r.Partition}, r.Offset)
				}
			})
	}
	_ = w.producer.Flush(context.Background())
}

// recreate deletes the topic and creates it again immediately. While a topic is missing, the client
// requests it without a pause, so virtual time would not advance.
func (w *world) recreate(partitions int32) {
	w.readCommits(false)
	for _, p := range w.cluster.PartitionInfos(topic) {
		w.unread += int(p.HighWatermark - p.LogStartOffset)
	}
	w.history.deleteTopic(w.topic)
	if err := w.cluster.DeleteTopic(topic); err != nil {
		w.t.Fatal(err)
	}
	if err := w.cluster.CreateTopic(topic, partitions, nil); err != nil {
		w.t.Fatal(err)
	}
	w.topic = w.cluster.TopicInfo(topic).TopicID
	w.connectProducer()
}

// expire deletes the records of a partition below its committed offset or one of the cuts beyond
// it. Any other offset would delete a part of a batch, and a new owner could not read the whole
// batch.
func (w *world) expire() {
	w.readCommits(false)
	info := w.cluster.GroupInfo(group)
	if info == nil || len(info.Commits[topic]) == 0 {
		return
	}
	numbers := w.cluster.PartitionInfos(topic)
	p := numbers[w.rng.IntN(len(numbers))].Partition
	c, ok := info.Commits[topic][p]
	cuts, id, err := parseMetadata(c.Offset, c.Metadata)
	if !ok || err != nil || id != w.topic {
		return
	}
	choices := append([]int64{c.Offset}, cuts...)
	to := choices[w.rng.IntN(len(choices))]
	w.note("retention deletes partition %d below %d, committed %d", p, to, c.Offset)
	start := w.cluster.PartitionInfo(topic, p).LogStartOffset
	w.unread += int(max(to-start, 0))
	w.history.expire(place{w.topic, p}, to)
	if err := w.cluster.DeleteRecords(topic, p, to); err != nil {
		w.note("retention: %v", err)
	}
}

// addPartitions adds n partitions to the topic.
func (w *world) addPartitions(n int) {
	cl := w.client()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreatePartitions(ctx, n, topic); err != nil {
		w.note("add partitions: %v", err)
	}
	w.connectProducer()
}

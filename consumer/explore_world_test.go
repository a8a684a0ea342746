package consumer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
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
	// epochs maps each member ID to the highest epoch in its heartbeats. removedAt contains this epoch
	// for members that were removed and then added again.
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

// onKafkaRequest runs before the brokers execute a request.
//
//nolint:revive // Control requires this order of results
func (w *world) onKafkaRequest(r kmsg.Request) (kmsg.Response, error, bool) {
	w.cluster.KeepControl()
	w.readCommits(true)
	var member string
	switch r := r.(type) {
	case *kmsg.OffsetCommitRequest:
		w.readMu.Lock()
		w.began, w.dirty = w.history.tick(), true
		w.readMu.Unlock()
		member = r.MemberID
		if w.precedesMembership(r) {
			return staleCommit(r), nil, true
		}
	case *kmsg.HeartbeatRequest:
		member = r.MemberID
	case *kmsg.SyncGroupRequest:
		member = r.MemberID
	case *kmsg.JoinGroupRequest:
		member = r.MemberID
	case *kmsg.ConsumerGroupHeartbeatRequest:
		member = r.MemberID
		w.noteEpoch(r.MemberID, r.MemberEpoch)
	}
	if member != "" {
		w.seenMu.Lock()
		w.seen[member] = time.Now()
		w.seenMu.Unlock()
	}
	return nil, nil, false
}

// noteEpoch records the epoch in a heartbeat. A join (epoch 0) that arrives late adds a member again
// that was removed in the meantime.
func (w *world) noteEpoch(member string, epoch int32) {
	var added bool
	if epoch == 0 {
		info := w.cluster.GroupInfo(group)
		added = info == nil ||
			!slices.ContainsFunc(info.Members, func(m kfake.GroupMember) bool { return m.MemberID == member })
	}
	w.seenMu.Lock()
	defer w.seenMu.Unlock()
	if last := w.epochs[member]; added && last > 0 {
		w.removedAt[member] = last
	}
	w.epochs[member] = max(w.epochs[member], epoch)
}

// precedesMembership reports whether a member sent a commit before it was removed and added again.
// Apache Kafka rejects such a commit, because its epoch is older than the assignment of every
// partition of the member. kfake stores it for partitions that are not assigned to the member.
func (w *world) precedesMembership(r *kmsg.OffsetCommitRequest) bool {
	w.seenMu.Lock()
	defer w.seenMu.Unlock()
	epoch, ok := w.removedAt[r.MemberID]
	return ok && r.Generation >= 0 && r.Generation <= epoch
}

// staleCommit returns the response that rejects all partitions of a commit.
func staleCommit(r *kmsg.OffsetCommitRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, topic := range r.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, kerr.StaleMemberEpoch.Code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// readCommits adds the stored commits to the history. It runs at the latest before the next request
// is executed, so it misses no commit. executed must be set if all earlier requests have been
// executed.
func (w *world) readCommits(executed bool) {
	w.readMu.Lock()
	defer w.readMu.Unlock()
	if !w.dirty {
		return
	}
	w.dirty = !executed
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return
	}
	for number, c := range info.Commits[topic] {
		cuts, id, err := parseMetadata(c.Offset, c.Metadata)
		if err != nil {
			w.reportBroken("metadata damaged", err.Error())
			continue
		}
		if id != ([16]byte{}) { // without an ID, the incarnation is unknown
			w.history.addCommit(place{id, number}, stored{from: w.began, offset: c.Offset, cuts: cuts})
		}
	}
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

// request sends a request to the coordinator of the group, bypassing all networks. It waits for the
// response for at most one second.
func (w *world) request(r kmsg.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := w.net.DialContext(ctx, "tcp", w.cluster.ListenAddrs()[w.cluster.CoordinatorFor(group)])
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, r, 1)); err != nil {
		return
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err == nil {
		_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size)))
	}
}

// expel removes a member from the group, like an administrator or a broker.
func (w *world) expel(m kfake.GroupMember) {
	if w.next {
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.SetVersion(1)
		r.Group, r.MemberID, r.MemberEpoch, r.InstanceID = group, m.MemberID, -1, m.InstanceID
		w.request(r)
		return
	}
	r := kmsg.NewPtrLeaveGroupRequest()
	r.SetVersion(5)
	r.Group = group
	lm := kmsg.NewLeaveGroupRequestMember()
	lm.MemberID, lm.InstanceID = m.MemberID, m.InstanceID
	r.Members = append(r.Members, lm)
	w.request(r)
}

// member is a running consumer.
type member struct {
	*consumer.Consumer
	w        *world
	name     string
	instance string
	net      *network
	reg      *prometheus.Registry
	drain    time.Duration
	stop     context.CancelFunc
	leaving  atomic.Bool // the test has stopped the member
	done     chan error
}

// join starts a member. An instance ID makes it a static member.
func (w *world) join(instance string) {
	w.names++
	m := &member{w: w, name: fmt.Sprint("m", w.names), instance: instance, net: newNetwork(),
		reg:   prometheus.NewRegistry(),
		drain: time.Duration(2+w.rng.IntN(20)) * time.Second, done: make(chan error, 1)}
	mapping, err := transform.Compile(transform.Config{Schema: 3, MetricValue: []string{"properties.value"},
		IntegrationNames: []string{"LaunchDarkly Events"}, HonorIntegrations: true})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := consumer.Config{
		Client: []kgo.Opt{kgo.SeedBrokers(w.cluster.ListenAddrs()...),
			kgo.Dialer(m.net.through(w.net.DialContext, true)), kgo.ClientID(m.name)},
		Topics: []string{topic}, Group: group, SessionTimeout: sessionTimeout, InstanceID: instance,
		ConsumerProtocol: w.next,
		MaxEvents:        20 + w.rng.IntN(150), MaxBytes: 1 << 20,
		MaxAge: time.Duration(100+w.rng.IntN(1500)) * time.Millisecond, DrainTimeout: m.drain,
		Mapping: mapping, Budget: sink.NewBudget(64 << 20), Registry: m.reg, Log: w.logger(m.name),
	}
	if w.old {
		cfg.Client = append(cfg.Client, kgo.MaxVersions(kversion.V3_6_0()))
	}
	if w.letters {
		cfg.DeadLetterTopic = letters
	}
	transport := &http.Transport{DialContext: m.net.through(w.pipe.DialContext, false)}
	if cfg.Sink, err = sink.New(sink.Config{
		EventsURL: "http://ld", Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID, Schema: 3,
		Version:     "test",
		MaxInFlight: 1 + w.rng.IntN(16), Timeout: 5 * time.Second, BackoffMin: 500 * time.Millisecond,
		BackoffMax: 20 * time.Second,
		Transport:  transport, Metrics: sink.NewMetrics(m.reg, cfg.Budget), Log: cfg.Log,
	}); err != nil {
		w.t.Fatal(err)
	}
	if m.Consumer, err = consumer.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	go func() {
		err := m.Run(ctx)
		if !m.leaving.Load() {
			w.reportBroken("returned early", fmt.Sprintf("%s: %v", m.name, err))
		}
		cfg.Sink.Close()
		transport.CloseIdleConnections()
		if held := cfg.Budget.Used(); held != 0 {
			w.reportBroken("budget not released", fmt.Sprintf("%s: %d bytes", m.name, held))
		}
		m.done <- err
	}()
	w.members = append(w.members, m)
	w.note("%s joins, instance %q", m.name, instance)
}

// leave stops a member and waits until Run returns. If clean is set, Run must return nil.
func (m *member) leave(clean bool) {
	if m.leaving.Swap(true) {
		return
	}
	began := time.Now()
	m.stop()
	var err error
	select {
	case err = <-m.done:
	case <-time.After(10 * time.Minute):
		m.w.reportBroken("never stopped", m.name)
		return
	}
	if took := time.Since(began); took > m.drain+15*time.Second {
		m.w.reportBroken("stopped late", fmt.Sprintf("%s: after %v with a drain timeout of %v", m.name, took, m.drain))
	}
	if clean && err != nil {
		m.w.reportBroken("left with an error", fmt.Sprintf("%s: %v", m.name, err))
	}
	m.done <- nil
	m.net.die(false)
}

// counters returns the sums of three counters over all members: calls with any outcome, lost
// records, and partitions that did not start at their committed offset.
func (w *world) counters() (calls, lost, moves float64) {
	for _, m := range append(slices.Clone(w.gone), w.members...) {
		families, err := m.reg.Gather()
		if err != nil {
			w.t.Error(err)
		}
		for _, f := range families {
			sum := 0.0
			for _, metric := range f.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
			switch f.GetName() {
			case "segment_launchdarkly_consumer_calls_total":
				calls += sum
			case "segment_launchdarkly_consumer_records_lost_total":
				lost += sum
			case "segment_launchdarkly_consumer_position_moves_total":
				moves += sum
			}
		}
	}
	return calls, lost, moves
}

// unsettled describes deviations from the state that members must reach after the faults end. It
// returns "" if there are none.
func (w *world) unsettled() string {
	var wrong []string
	if n := w.history.outstanding(); n > 0 {
		wrong = append(wrong, fmt.Sprintf("%d events not delivered", n))
	}
	owners := map[int32][]string{}
	for _, m := range w.members {
		s := m.Status()
		for _, p := range s.Problems {
			wrong = append(wrong, fmt.Sprintf("%s has a problem: %s", m.name, p))
		}
		for _, p := range s.Partitions {
			owners[p.Partition] = append(owners[p.Partition], m.name)
		}
	}
	ends, committed := w.ends()
	for p := range int32(len(ends)) {
		if len(owners[p]) != 1 {
			wrong = append(wrong, fmt.Sprintf("partition %d belongs to %v", p, owners[p]))
		}
		if committed[p] != ends[p] {
			wrong = append(wrong, fmt.Sprintf("partition %d is committed up to %d of %d", p, committed[p], ends[p]))
		}
	}
	return strings.Join(wrong, "; ")
}

// noteGroup adds the brokers' view of the group to the fault log, to distinguish broker bugs from
// bugs of the program.
func (w *world) noteGroup() {
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return
	}
	w.note("group is %s in generation %d", info.State, info.Epoch)
	for _, m := range info.Members {
		w.seenMu.Lock()
		heard := time.Since(w.seen[m.MemberID])
		w.seenMu.Unlock()
		w.note("    %s %s owns %v, last request %v ago", m.ClientID, m.MemberID, m.Assignment, heard)
	}
	for _, m := range w.members {
		s := m.Status()
		w.note("    %s reports joined %v, problems %q", m.name, s.Joined, s.Problems)
		for _, p := range s.Partitions {
			w.note("        partition %d: %+v", p.Partition, p)
		}
	}
}

var numberOfEvent = regexp.MustCompile(`"n":(\d+)`)

// checkLetters checks that all rejected calls are in the dead-letter topic.
func (w *world) checkLetters() {
	all, err := kafkatest.ReadAll(context.Background(), w.cluster.ListenAddrs(), letters, kgo.Dialer(w.net.DialContext))
	if err != nil {
		w.t.Error(err)
	}
	found := map[int]bool{}
	for _, r := range all {
		for _, match := range numberOfEvent.FindAllSubmatch(r.Value, -1) {
			n, _ := strconv.Atoi(string(match[1]))
			found[n] = true
		}
	}
	w.history.mu.Lock()
	defer w.history.mu.Unlock()
	for n, e := range w.history.events {
		start := slices.Max(append(w.history.starts[e.place], 0))
		if e.never && !found[n] && !w.history.deleted[e.place] && e.offset >= start {
			w.reportBroken("dead letter missing", fmt.Sprintf("event %d at %v offset %d", n, e.place, e.offset))
		}
	}
}

// logger returns a logger that writes to the fault log if EXPLORE_VERBOSE is set.
func (w *world) logger(name string) *zap.Logger {
	if os.Getenv("EXPLORE_VERBOSE") == "" {
		return zap.NewNop()
	}
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m", LevelKey: "l",
		EncodeLevel: zapcore.CapitalLevelEncoder})
	return zap.New(zapcore.NewCore(encoder, noteWriter{w, name}, zap.InfoLevel))
}

type noteWriter struct {
	w    *world
	name string
}

func (n noteWriter) Write(line []byte) (int, error) {
	n.w.note("    %s: %s", n.name, bytes.TrimSpace(line))
	return len(line), nil
}

func (noteWriter) Sync() error { return nil }

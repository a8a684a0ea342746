package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const (
	testTopic = "segment"
	testGroup = "forwarder"
	letters   = "dead"
)

// world is an embedded Kafka and a fake LaunchDarkly on an in-memory network. It is for use in a
// synctest bubble, where minutes take milliseconds. It checks the invariants on every commit, on
// every request, and at the end.
type world struct {
	t       *testing.T
	net     kfake.VirtualNetwork
	cluster *kfake.Cluster
	ld      *ldtest.Server
	pipe    *ldtest.Pipe
	brokers []string
	closers []func()

	mu       sync.Mutex                        // guards the fields below
	produced int                               // number of track calls to be delivered
	log      map[topicPartition]map[int64]int  // by offset, number of the track call, or notTrack
	rejected map[int]bool                      // events that LaunchDarkly rejects
	counted  map[string]int                    // by number, how often LaunchDarkly counted the event
	late     []func()                          // deferred checks of requests
	commits  map[topicPartition]int64          // last committed offsets
	cuts     map[topicPartition]map[int64]bool // all offsets and cuts stored by the time of a request
	places   map[string]topicPartitionOffset   // by number, position of the event

	// The test sets the fields below before it triggers the commits or requests in question.
	unchecked bool // do not check commits, because they come from an operator
	redriven  bool // do not check requests, because they come from a redrive of another topic
}

type topicPartitionOffset struct {
	topicPartition
	offset int64
}

// unavailable is the fault of an outage of LaunchDarkly.
var unavailable = ldtest.Fault{Status: 503}

// notTrack is the value in world.log for records that need no delivery.
const notTrack = -1

// inWorld runs a test in a new bubble with one broker.
func inWorld(t *testing.T, partitions int32, test func(w *world)) {
	t.Helper()
	inWorldOf(t, 1, partitions, test)
}

// inWorldOf runs a test in a new bubble with the given number of brokers.
func inWorldOf(t *testing.T, brokers int, partitions int32, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, brokers, partitions)
		defer w.close()
		test(w)
	})
}

func newWorld(t *testing.T, brokers int, partitions int32) *world {
	w := &world{t: t, pipe: ldtest.NewPipe(), log: map[topicPartition]map[int64]int{}, counted: map[string]int{},
		rejected: map[int]bool{},
		commits:  map[topicPartition]int64{}, cuts: map[topicPartition]map[int64]bool{},
		places: map[string]topicPartitionOffset{}}
	var ports []int
	for i := range brokers {
		ports = append(ports, 9092+i)
	}
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(brokers), kfake.ListenFn(w.net.Listen),
		kfake.Ports(ports...),
		kfake.SeedTopics(partitions, testTopic), kfake.SeedTopics(1, letters),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0",
			"group.consumer.heartbeat.interval.ms": "1000"}))
	if err != nil {
		t.Fatal(err)
	}
	w.cluster, w.brokers = cluster, cluster.ListenAddrs()
	w.ld = ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), Retain: true, OnRequest: w.watchRequest})
	server := &http.Server{Handler: w.ld}
	go func() { _ = server.Serve(w.pipe) }()
	w.closers = append(w.closers, w.cluster.Close, func() { server.Close() }, func() { w.pipe.Close() })
	w.watchCommits()
	return w
}

func (w *world) close() {
	for _, c := range slices.Backward(w.closers) {
		c()
	}
}

// watchCommits checks that no commit passes an event that LaunchDarkly has not accepted.
func (w *world) watchCommits() {
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		w.mu.Lock()
		defer w.mu.Unlock()
		request := r.(*kmsg.OffsetCommitRequest)
		if w.unchecked || request.Group != testGroup {
			return nil, nil, false
		}
		for _, t := range request.Topics {
			for _, p := range t.Partitions {
				name := topicPartition{w.topicName(t), p.Partition}
				_, id, err := parseMetadata(p.Offset, *p.Metadata)
				if err != nil {
					w.t.Errorf("metadata %q: %v", *p.Metadata, err)
				}
				if info := w.cluster.TopicInfo(name.topic); info != nil && id != info.TopicID {
					continue // names a deleted topic
				}
				for offset := w.commits[name]; offset < p.Offset; offset++ {
					if n, ok := w.log[name][offset]; ok && n != notTrack && w.counted[strconv.Itoa(n)] == 0 {
						w.t.Errorf("commit %d of %v passes undelivered offset %d", p.Offset, name, offset)
						break
					}
				}
				w.commits[name] = p.Offset
			}
		}
		return nil, nil, false
	})
}

// readCuts records the offsets and cuts stored by the broker. The caller must not hold mu.
func (w *world) readCuts() {
	group, topics := w.cluster.GroupInfo(testGroup), map[string]topicID{}
	if group == nil {
		return
	}
	for topic := range group.Commits {
		if info := w.cluster.TopicInfo(topic); info != nil {
			topics[topic] = info.TopicID
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for topic, partitions := range group.Commits {
		for number, c := range partitions {
			name := topicPartition{topic, number}
			cuts, id, err := parseMetadata(c.Offset, c.Metadata)
			if err != nil || id != topics[topic] && id != (topicID{}) {
				continue // committed by another client or for a deleted topic
			}
			if w.cuts[name] == nil {
				w.cuts[name] = map[int64]bool{}
			}
			for _, cut := range append(cuts, c.Offset) {
				w.cuts[name][cut] = true
			}
		}
	}
}

func (w *world) topicName(t kmsg.OffsetCommitRequestTopic) string {
	if t.Topic != "" {
		return t.Topic
	}
	if info := w.cluster.TopicIDInfo(t.TopicID); info != nil {
		return info.Topic
	}
	return "" // the topic was deleted
}

// watchRequest checks every request to LaunchDarkly. It defers the check until the offsets of all
// events are known, because a consumer can be faster than the acknowledgment to the producer.
func (w *world) watchRequest(r ldtest.Request) {
	w.readCuts()
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Accepted && !r.Duplicate {
		for _, n := range r.Identities {
			w.counted[n]++
		}
	}
	if w.redriven {
		return
	}
	for _, n := range r.Identities {
		if _, ok := w.places[n]; !ok {
			cuts := map[topicPartition]map[int64]bool{}
			for p, c := range w.cuts {
				cuts[p] = maps.Clone(c)
			}
			w.late = append(w.late, func() { w.checkRequest(r, cuts) })
			return
		}
	}
	w.checkRequest(r, w.cuts)
}

// checkRequest asserts that the events of a request are in one partition, between two adjacent
// committed offsets or cuts. The caller holds mu.
func (w *world) checkRequest(r ldtest.Request, cuts map[topicPartition]map[int64]bool) {
	if len(r.Identities) == 0 {
		return // no event of the body was read
	}
	in := w.places[r.Identities[0]].topicPartition
	if in.topic == "" {
		return // the topic was deleted
	}
	low, high := int64(math.MaxInt64), int64(-1)
	for _, n := range r.Identities {
		place, ok := w.places[n]
		if !ok || place.topicPartition != in {
			w.t.Errorf("request spans partitions: event %q is at %v, others are in %v", n, place, in)
		}
		low, high = min(low, place.offset), max(high, place.offset)
	}
	end := high + 1
	// The cut may follow filtered records or transaction markers.
	for last := w.end(in) + 20; !cuts[in][end] && end < last; {
		end++
	}
	if !cuts[in][end] {
		w.t.Errorf("offsets %d to %d of %v sent before their cut was committed", low, high, in)
	}
	for offset := low + 1; offset <= high; offset++ {
		if cuts[in][offset] && r.Accepted {
			w.t.Errorf("offsets %d to %d of %v sent across the cut at %d", low, high, in, offset)
		}
	}
}

// end returns the offset after the last produced record. The caller holds mu.
func (w *world) end(p topicPartition) (end int64) {
	for offset := range w.log[p] {
		end = max(end, offset+1)
	}
	return end
}

// kafka returns the options of a client that connects to the brokers.
func (w *world) kafka() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(w.brokers...),
		kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			return w.net.DialContext(ctx, network, addr)
		})}
}

// track returns the track call with number n.
func track(n int) []byte {
	return fmt.Appendf(nil, `{"type":"track","event":"e","userId":"u%d","timestamp":"2026-01-02T03:04:05Z",`+
		`"properties":{"n":%d,"value":1.5}}`, n%97, n)
}

// produce writes n records. value(i) returns the value of the i-th record, which needs no delivery.
// If value or its result is nil, the record is a track call that must be delivered.
func (w *world) produce(n int, value func(i int) []byte, opts ...kgo.Opt) {
	w.t.Helper()
	client, err := kgo.NewClient(append(append(w.kafka(), kgo.DefaultProduceTopic(testTopic),
		kgo.ProducerBatchCompression(kgo.NoCompression())), opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		number, v := notTrack, []byte(nil)
		if value != nil {
			v = value(i)
		}
		if v == nil {
			w.mu.Lock()
			number = w.produced
			w.produced++
			w.mu.Unlock()
			v = track(number)
		}
		client.Produce(context.Background(), &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: v},
			func(r *kgo.Record, err error) {
				if err != nil {
					w.t.Error(err)
					return
				}
				w.place(r, number)
			})
	}
	client.Flush(context.Background())
}

// place records the position of a record.
func (w *world) place(r *kgo.Record, number int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := topicPartition{r.Topic, r.Partition}
	if w.log[name] == nil {
		w.log[name] = map[int64]int{}
	}
	w.log[name][r.Offset] = number
	w.places[strconv.Itoa(number)] = topicPartitionOffset{name, r.Offset}
}

// forget forgets all logs after the topic was deleted.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range w.places {
		w.places[n] = topicPartitionOffset{}
	}
	clear(w.log)
	clear(w.commits)
	clear(w.cuts)
}

// expectRejected marks an event as rejected by LaunchDarkly, so that it need not be delivered.
func (w *world) expectRejected(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rejected[n] = true
	place := w.places[strconv.Itoa(n)]
	w.log[place.topicPartition][place.offset] = notTrack
}

// readLetters returns all dead letters.
func (w *world) readLetters() []*kgo.Record {
	w.t.Helper()
	all, err := kafkatest.ReadAll(context.Background(), w.brokers, letters, w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// member is a running consumer.
type member struct {
	*Consumer
	stop context.CancelFunc
	done chan error
	reg  *prometheus.Registry

	kafka, ld       chan struct{} // closed when the member is disconnected from it
	cutKafka, cutLD sync.Once
}

// cuttable returns a dialer whose connections close when cut is closed.
func cuttable(cut <-chan struct{}, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context,
	string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-cut:
			return nil, errors.New("disconnected by the test")
		default:
		}
		conn, err := dial(ctx, network, addr)
		if err == nil {
			go func() {
				<-cut
				conn.Close()
			}()
		}
		return conn, err
	}
}

// kill disconnects a member from Kafka and LaunchDarkly, which resembles a crash to the outside.
// The member itself continues until leave or abort stops it.
func (m *member) kill() { m.killKafka(); m.cutLD.Do(func() { close(m.ld) }) }

// killKafka disconnects a member from Kafka only.
func (m *member) killKafka() { m.cutKafka.Do(func() { close(m.kafka) }) }

// join starts a member. change may modify its configuration.
func (w *world) join(change func(*Config, *sink.Config)) *member {
	w.t.Helper()
	log := zap.NewNop()
	if testing.Verbose() {
		log = zaptest.NewLogger(w.t, zaptest.Level(zap.InfoLevel))
	}
	mapping, err := transform.Compile(transform.Config{Schema: 3, MetricValue: []string{"properties.value"},
		IntegrationNames: []string{"LaunchDarkly Events"}, HonorIntegrations: true})
	if err != nil {
		w.t.Fatal(err)
	}
	m := &member{done: make(chan error, 1), reg: prometheus.NewRegistry(), kafka: make(chan struct{}),
		ld: make(chan struct{})}
	cfg := Config{
		Client: []kgo.Opt{kgo.SeedBrokers(w.brokers...), kgo.Dialer(cuttable(m.kafka, w.net.DialContext))},
		Topics: []string{testTopic}, Group: testGroup, SessionTimeout: 10 * time.Second,
		MaxEvents: 100, MaxBytes: 1 << 20, MaxAge: time.Second, Gzip: true, DrainTimeout: 20 * time.Second,
		Mapping: mapping, Budget: sink.NewBudget(64 << 20), Registry: m.reg, Log: log,
	}
	transport := &http.Transport{DialContext: cuttable(m.ld, w.pipe.DialContext)}
	sinkCfg := sink.Config{
		EventsURL: "http://ld", Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID, Schema: 3,
		Version:     "test",
		MaxInFlight: 16, Timeout: 10 * time.Second, BackoffMin: 500 * time.Millisecond, BackoffMax: time.Minute,
		Transport: transport, Metrics: sink.NewMetrics(m.reg, cfg.Budget), Log: log,
	}
	if change != nil {
		change(&cfg, &sinkCfg)
	}
	if cfg.Sink, err = sink.New(sinkCfg); err != nil {
		w.t.Fatal(err)
	}
	if m.Consumer, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go func() {
		err := m.Run(ctx)
		cfg.Sink.Close()
		transport.CloseIdleConnections()
		if held := cfg.Budget.Used(); held != 0 {
			w.t.Errorf("%d bytes of the budget not released", held)
		}
		if queued := m.queued(); queued != 0 {
			w.t.Errorf("%d bytes still queued after Run returned", queued)
		}
		m.done <- err
	}()
	return m
}

// finish waits until a member has no batches in flight, and then makes it leave. A batch that
// LaunchDarkly accepted without a response may back off for minutes.
func (m *member) finish(t *testing.T) {
	t.Helper()
	for range 1200 {
		busy := false
		for _, p := range m.Status().Partitions {
			busy = busy || p.InFlight > 0
		}
		if !busy {
			break
		}
		time.Sleep(time.Second)
	}
	m.leave(t)
}

// leave stops a member, and fails the test if Run returns an error.
func (m *member) leave(t *testing.T) {
	t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		t.Errorf("leave: %v", err)
	}
	m.end()
}

// abort stops a member, and ignores the error of Run.
func (m *member) abort() {
	m.stop()
	if err := <-m.done; err != nil {
		return // expected if the member had batches in flight
	}
}

// end stops the network goroutines of a member.
func (m *member) end() { m.kill() }

// awaitDelivered waits until LaunchDarkly has counted all produced events, for at most limit of
// virtual time. Then it checks the invariants.
func (w *world) awaitDelivered(limit time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := w.ld.Wait(ctx, w.produced-len(w.rejected)); err != nil {
		w.t.Errorf("%d of %d events delivered after %v", w.ld.Report().Processed, w.produced, limit)
	}
	w.check()
}

// check asserts that each event was counted once, and that no request violated LaunchDarkly's
// rules.
func (w *world) check() {
	w.t.Helper()
	report := w.ld.Report() // acquires a mutex that is held during calls of watchRequest
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, check := range w.late {
		check()
	}
	w.late = nil
	for n := range w.produced {
		if c := w.counted[strconv.Itoa(n)]; c != 1 && !w.rejected[n] {
			w.t.Errorf("event %d counted %d times, want 1", n, c)
		}
	}
	if report.ViolationCount > 0 || report.Dropped > 0 {
		w.t.Errorf("LaunchDarkly reported violations %v and drops %v", report.Violations, report.Drops)
	}
}

// checkSentOnce asserts that no accepted request was sent again.
func (w *world) checkSentOnce() {
	w.t.Helper()
	if n := w.ld.Report().Duplicates; n > 0 {
		w.t.Errorf("%d accepted requests sent again, want 0", n)
	}
}

// committed returns the sum of the last committed offsets.
func (w *world) committed() (sum int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, offset := range w.commits {
		sum += offset
	}
	return sum
}

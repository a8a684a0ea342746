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

// world is an embedded Kafka and a fake LaunchDarkly on an in-memory network, for
// use inside a synctest bubble, where minutes take milliseconds. It checks the
// invariants at every commit and at its end.
type world struct {
	t       *testing.T
	net     kfake.VirtualNetwork
	cluster *kfake.Cluster
	ld      *ldtest.Server
	pipe    *ldtest.Pipe
	brokers []string
	closers []func()

	mu       sync.Mutex
	produced int                               // guards: track calls that are to be delivered
	log      map[topicPartition]map[int64]int  // guards: by offset, the track call there, or notTrack
	refused  map[int]bool                      // guards: events that LaunchDarkly refuses
	counted  map[string]int                    // guards: by number, how often LaunchDarkly counted the event
	late     []func()                          // guards: checks of requests whose events were not placed yet
	commits  map[topicPartition]int64          // guards: the last commit at the broker
	cuts     map[topicPartition]map[int64]bool // guards: every offset and cut that the broker had stored when a request arrived
	places   map[string]topicPartitionOffset   // guards: by number, where the event is

	unchecked bool // commits are an operator's, which may be anything
	redriven  bool // requests come from a redrive, whose records are elsewhere
}

type topicPartitionOffset struct {
	topicPartition
	offset int64
}

// ldtestUnavailable is LaunchDarkly during an outage.
var ldtestUnavailable = ldtest.Fault{Status: 503}

// notTrack marks a record in world.log that needs no delivery.
const notTrack = -1

// inWorld runs a test in a bubble of its own, with one broker.
func inWorld(t *testing.T, partitions int32, test func(w *world)) {
	t.Helper()
	inWorldOf(t, 1, partitions, test)
}

// inWorldOf runs a test in a bubble of its own, with so many brokers.
func inWorldOf(t *testing.T, brokers int, partitions int32, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, brokers, partitions)
		defer w.close()
		test(w)
	})
}

func newWorld(t *testing.T, brokers int, partitions int32) *world {
	w := &world{t: t, pipe: ldtest.NewPipe(), log: map[topicPartition]map[int64]int{}, counted: map[string]int{}, refused: map[int]bool{},
		commits: map[topicPartition]int64{}, cuts: map[topicPartition]map[int64]bool{}, places: map[string]topicPartitionOffset{}}
	var ports []int
	for i := range brokers {
		ports = append(ports, 9092+i)
	}
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(brokers), kfake.ListenFn(w.net.Listen), kfake.Ports(ports...),
		kfake.SeedTopics(partitions, testTopic), kfake.SeedTopics(1, letters),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0", "group.consumer.heartbeat.interval.ms": "1000"}))
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

// watchCommits checks every commit at the broker: it never passes an event that
// LaunchDarkly has not taken. It notes the cuts.
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
					continue // of a topic that was deleted, by its name
				}
				for offset := w.commits[name]; offset < p.Offset; offset++ {
					if n, ok := w.log[name][offset]; ok && n != notTrack && w.counted[strconv.Itoa(n)] == 0 {
						w.t.Errorf("commit %d of %v passes offset %d, which was not delivered", p.Offset, name, offset)
						break
					}
				}
				w.commits[name] = p.Offset
			}
		}
		return nil, nil, false
	})
}

// readCuts notes the offsets and cuts that the broker has stored. The caller does not hold mu.
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
				continue // another client's, or of a topic that was deleted, by its name
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
	return "" // it is deleted
}

// watchRequest checks every request at LaunchDarkly, when it is known where its
// events are: a consumer can be faster than the acknowledgement of the producer.
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

// checkRequest asserts that a request's events are of one partition, and lie between
// two offsets that were committed before, with none in between. The caller holds mu.
func (w *world) checkRequest(r ldtest.Request, cuts map[topicPartition]map[int64]bool) {
	if len(r.Identities) == 0 {
		return // nothing of the body was read
	}
	in := w.places[r.Identities[0]].topicPartition
	if in.topic == "" {
		return // it is deleted
	}
	low, high := int64(math.MaxInt64), int64(-1)
	for _, n := range r.Identities {
		place, ok := w.places[n]
		if !ok || place.topicPartition != in {
			w.t.Errorf("event %q of a request is at %v, others of it in %v", n, place, in)
		}
		low, high = min(low, place.offset), max(high, place.offset)
	}
	end := high + 1
	for last := w.end(in) + 20; !cuts[in][end] && end < last; { // behind filtered records, or ends of transactions
		end++
	}
	if !cuts[in][end] {
		w.t.Errorf("offsets %d to %d of %v posted before a cut behind them was committed", low, high, in)
	}
	for offset := low + 1; offset <= high; offset++ {
		if cuts[in][offset] && r.Accepted {
			w.t.Errorf("offsets %d to %d of %v posted over the cut at %d", low, high, in, offset)
		}
	}
}

// end returns the offset behind the last record produced. The caller holds mu.
func (w *world) end(p topicPartition) (end int64) {
	for offset := range w.log[p] {
		end = max(end, offset+1)
	}
	return end
}

// kafka returns the options of a client of the world's broker.
func (w *world) kafka() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(w.brokers...), kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return w.net.DialContext(ctx, network, addr)
	})}
}

// track returns the n-th event of a test.
func track(n int) []byte {
	return fmt.Appendf(nil, `{"type":"track","event":"e","userId":"u%d","timestamp":"2026-01-02T03:04:05Z","properties":{"n":%d,"value":1.5}}`, n%97, n)
}

// produce writes records; value(i) is the i-th one's, nil for a track call that is
// to be delivered. Values that are given need no delivery.
func (w *world) produce(n int, value func(i int) []byte, opts ...kgo.Opt) {
	w.t.Helper()
	client, err := kgo.NewClient(append(append(w.kafka(), kgo.DefaultProduceTopic(testTopic), kgo.ProducerBatchCompression(kgo.NoCompression())), opts...)...)
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
		client.Produce(context.Background(), &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: v}, func(r *kgo.Record, err error) {
			if err != nil {
				w.t.Error(err)
				return
			}
			w.place(r, number)
		})
	}
	client.Flush(context.Background())
}

// place notes where a record is.
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

// forget forgets the logs, because the topic is deleted.
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

// except says that an event is not to be delivered, because LaunchDarkly refuses it.
func (w *world) except(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused[n] = true
	place := w.places[strconv.Itoa(n)]
	w.log[place.topicPartition][place.offset] = notTrack
}

// readLetters returns the dead letters.
func (w *world) readLetters() []*kgo.Record {
	w.t.Helper()
	all, err := kafkatest.ReadAll(context.Background(), w.brokers, letters, w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// member is one running consumer.
type member struct {
	*Consumer
	stop context.CancelFunc
	done chan error
	reg  *prometheus.Registry

	kafka, ld       chan struct{} // closed: cut off
	cutKafka, cutLD sync.Once
}

// cuttable returns a dialer whose connections end when cut is closed.
func cuttable(cut <-chan struct{}, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-cut:
			return nil, errors.New("cut off")
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

// kill cuts a member off from the world, so that to the world it is gone in the
// middle of whatever it did. It goes on by itself, as a process that was cut off
// does, until leave ends it.
func (m *member) kill() { m.killKafka(); m.cutLD.Do(func() { close(m.ld) }) }

// killKafka cuts a member off from Kafka only.
func (m *member) killKafka() { m.cutKafka.Do(func() { close(m.kafka) }) }

// join starts a member. change may adapt its configuration.
func (w *world) join(change func(*Config, *sink.Config)) *member {
	w.t.Helper()
	log := zap.NewNop()
	if testing.Verbose() {
		log = zaptest.NewLogger(w.t, zaptest.Level(zap.InfoLevel))
	}
	mapping, err := transform.Compile(transform.Config{Schema: 3, MetricValue: []string{"properties.value"}, IntegrationNames: []string{"LaunchDarkly Events"}, HonorIntegrations: true})
	if err != nil {
		w.t.Fatal(err)
	}
	m := &member{done: make(chan error, 1), reg: prometheus.NewRegistry(), kafka: make(chan struct{}), ld: make(chan struct{})}
	cfg := Config{
		Client: []kgo.Opt{kgo.SeedBrokers(w.brokers...), kgo.Dialer(cuttable(m.kafka, w.net.DialContext))}, Topics: []string{testTopic}, Group: testGroup, SessionTimeout: 10 * time.Second,
		MaxEvents: 100, MaxBytes: 1 << 20, MaxAge: time.Second, Gzip: true, DrainTimeout: 20 * time.Second,
		Mapping: mapping, Budget: sink.NewBudget(64 << 20), Registry: m.reg, Log: log,
	}
	transport := &http.Transport{DialContext: cuttable(m.ld, w.pipe.DialContext)}
	sinkCfg := sink.Config{
		EventsURL: "http://ld", Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID, Schema: 3, Version: "test",
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
			w.t.Errorf("%d bytes never given back", held)
		}
		if queued := m.queued(); queued != 0 {
			w.t.Errorf("%d bytes queued after the end", queued)
		}
		m.done <- err
	}()
	return m
}

// finish waits until a member has nothing in flight: a batch that was taken and not
// answered may back off for minutes after LaunchDarkly has counted it. Then it leaves.
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

// leave stops a member in peace and fails the test if it leaves anything behind.
func (m *member) leave(t *testing.T) {
	t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		t.Errorf("member left: %v", err)
	}
	m.end()
}

// abort stops a member that cannot leave in peace.
func (m *member) abort() {
	m.stop()
	if err := <-m.done; err != nil {
		return // as it should be, if it had anything in flight
	}
}

// end ends the goroutines of a member's network.
func (m *member) end() { m.kill() }

// settled waits until LaunchDarkly counts what was produced, for at most limit of
// virtual time, and checks what must always hold.
func (w *world) settled(limit time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := w.ld.Wait(ctx, w.produced-len(w.refused)); err != nil {
		w.t.Errorf("%d of %d events delivered after %v", w.ld.Report().Processed, w.produced, limit)
	}
	w.check()
}

// check asserts: nothing missing, nothing counted twice, no violation of
// LaunchDarkly's rules.
func (w *world) check() {
	w.t.Helper()
	report := w.ld.Report() // which takes a mutex that watchRequest is called under
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, check := range w.late {
		check()
	}
	w.late = nil
	for n := range w.produced {
		if c := w.counted[strconv.Itoa(n)]; c != 1 && !w.refused[n] {
			w.t.Errorf("event %d counted %d times", n, c)
		}
	}
	if report.ViolationCount > 0 || report.Dropped > 0 {
		w.t.Errorf("LaunchDarkly objects: %v, %v", report.Violations, report.Drops)
	}
}

// sentOnce asserts that no request repeated one that was taken.
func (w *world) sentOnce() {
	w.t.Helper()
	if n := w.ld.Report().Duplicates; n > 0 {
		w.t.Errorf("%d requests sent twice", n)
	}
}

// committed returns the sum of the last commits.
func (w *world) committed() (sum int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, offset := range w.commits {
		sum += offset
	}
	return sum
}

package consumer

import (
	"context"
	"fmt"
	"net"
	"net/http"
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

	mu        sync.Mutex
	produced  int
	delivered map[string]int           // guards: by event identity, how often counted
	commits   map[topicPartition]int64 // guards: last commit seen at the broker
}

// inWorld runs a test in a bubble of its own.
func inWorld(t *testing.T, partitions int32, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions)
		defer w.close()
		test(w)
	})
}

func newWorld(t *testing.T, partitions int32) *world {
	w := &world{t: t, delivered: map[string]int{}, commits: map[topicPartition]int64{}, pipe: ldtest.NewPipe()}
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(1), kfake.ListenFn(w.net.Listen), kfake.Ports(9092),
		kfake.SeedTopics(partitions, testTopic), kfake.SeedTopics(1, letters),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0", "group.consumer.heartbeat.interval.ms": "1000"}))
	if err != nil {
		t.Fatal(err)
	}
	w.cluster, w.brokers = cluster, cluster.ListenAddrs()
	w.ld = ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), Retain: true})
	server := &http.Server{Handler: w.ld}
	go server.Serve(w.pipe)
	w.closers = append(w.closers, w.cluster.Close, func() { server.Close() }, func() { w.pipe.Close() })
	w.watchCommits()
	return w
}

func (w *world) close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
}

// watchCommits checks every commit at the broker: it never passes an event that
// LaunchDarkly has not taken.
func (w *world) watchCommits() {
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, t := range r.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range t.Partitions {
				w.commits[topicPartition{testTopic, p.Partition}] = p.Offset
			}
		}
		return nil, nil, false
	})
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
// to be delivered.
func (w *world) produce(n int, value func(i int) []byte) {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.kafka(), kgo.DefaultProduceTopic(testTopic), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		var v []byte
		if value != nil {
			v = value(i)
		}
		if v == nil {
			v = track(w.produced)
			w.produced++
		}
		client.Produce(context.Background(), &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	client.Flush(context.Background())
}

// member is one running consumer.
type member struct {
	*Consumer
	stop context.CancelFunc
	done chan error
	reg  *prometheus.Registry
}

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
	m := &member{done: make(chan error, 1), reg: prometheus.NewRegistry()}
	cfg := Config{
		Client: w.kafka(), Topics: []string{testTopic}, Group: testGroup, SessionTimeout: 10 * time.Second,
		MaxEvents: 100, MaxBytes: 1 << 20, MaxAge: time.Second, Gzip: true, DrainTimeout: 20 * time.Second,
		Mapping: mapping, Budget: sink.NewBudget(64 << 20), Registry: m.reg, Log: log,
	}
	transport := &http.Transport{DialContext: w.pipe.DialContext}
	sinkCfg := sink.Config{
		EventsURL: "http://ld", Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID, Schema: 3, Version: "test",
		MaxBytes: cfg.MaxBytes, MaxInFlight: 16, Timeout: 10 * time.Second, BackoffMin: 500 * time.Millisecond, BackoffMax: time.Minute,
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
		m.done <- err
	}()
	return m
}

// leave stops a member in peace and fails the test if it leaves anything behind.
func (m *member) leave(t *testing.T) {
	t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		t.Errorf("member left: %v", err)
	}
}

// settled waits until LaunchDarkly counts what was produced, for at most limit of
// virtual time, and checks what must always hold.
func (w *world) settled(limit time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := w.ld.Wait(ctx, w.produced); err != nil {
		w.t.Errorf("%d of %d events delivered after %v", len(w.ld.Events()), w.produced, limit)
	}
	w.check()
}

// check asserts: nothing missing, nothing counted twice, no violation of
// LaunchDarkly's rules.
func (w *world) check() {
	w.t.Helper()
	counted := map[string]int{}
	identity := ldtest.DataField("n")
	for _, e := range w.ld.Events() {
		counted[identity(e)]++
	}
	for n := range w.produced {
		if c := counted[strconv.Itoa(n)]; c != 1 {
			w.t.Errorf("event %d counted %d times", n, c)
		}
	}
	report := w.ld.Report()
	if report.ViolationCount > 0 || report.Dropped > 0 {
		w.t.Errorf("LaunchDarkly objects: %v, %v", report.Violations, report.Drops)
	}
}

// sentTwice returns how many requests repeated one that was taken.
func (w *world) sentTwice() int { return w.ld.Report().Duplicates }

// committed returns the sum of the last commits.
func (w *world) committed() (sum int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, offset := range w.commits {
		sum += offset
	}
	return sum
}

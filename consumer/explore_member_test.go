package consumer_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

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

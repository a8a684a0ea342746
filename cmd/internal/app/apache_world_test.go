//go:build linux

package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// apache is a cluster and an admin client. Tests that share a cluster have separate topics and
// groups.
type apache struct {
	*kafkatest.Apache
	admin *kadm.Client // has all permissions
}

const password = "secret"

func newApache(t *testing.T) apache { return newApacheWith(t, kafkatest.ApacheConfig{}) }

// newApacheWith starts a secured cluster of one node.
func newApacheWith(t *testing.T, cfg kafkatest.ApacheConfig) apache {
	t.Helper()
	cfg.Nodes, cfg.Users = 1, map[string]string{"alice": password, "bob": password}
	cluster := kafkatest.NewApache(t, cfg)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return apache{cluster, kadm.NewClient(client)}
}

// scene is a topic on an apache cluster, a fake LaunchDarkly, and the program between them.
type scene struct {
	t        *testing.T
	ctx      context.Context
	kafka    apache
	topic    string // also the name of the group
	ld       *ldtest.Server
	environ  []string
	produced int // number of events produced

	mu      sync.Mutex     // guards the field below
	counted map[string]int // by number, how often LaunchDarkly counted the event
}

func newScene(t *testing.T, kafka apache, topic string, partitions int32, configs map[string]string) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := &scene{t: t, ctx: ctx, kafka: kafka, topic: topic, counted: map[string]int{}}
	s.ld = ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), OnRequest: func(r ldtest.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Accepted && !r.Duplicate {
			for _, n := range r.Identities {
				s.counted[n]++
			}
		}
	}})
	server := httptest.NewServer(s.ld)
	t.Cleanup(server.Close)
	s.environ = []string{
		"S2LD_KAFKA_BROKERS=" + kafka.Brokers()[0], "S2LD_KAFKA_TOPICS=" + topic, "S2LD_KAFKA_GROUP=" + topic,
		"S2LD_LAUNCHDARKLY_EVENTS_URL=" + server.URL, "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
		"S2LD_BATCH_MAX_AGE=100ms", "S2LD_ADMIN_LISTEN=127.0.0.1:0",
	}
	s.must(kafkatest.CreateTopic(ctx, kafka.Brokers(), topic, partitions, configs))
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// set sets environment variables of the program, and replaces earlier values.
func (s *scene) set(environ ...string) *scene {
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		s.environ = slices.DeleteFunc(s.environ, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		s.environ = append(s.environ, e)
	}
	return s
}

// event returns the track call with number n.
func event(n int) []byte {
	return fmt.Appendf(nil, `{"type":"track","event":"e","userId":"u","timestamp":"2026-01-02T03:04:05Z",`+
		`"properties":{"n":%d}}`, n)
}

// produce produces the next n events.
func (s *scene) produce(n int) {
	s.t.Helper()
	s.must(kafkatest.Produce(s.ctx, s.kafka.Brokers(), s.topic, s.produced, s.produced+n, event))
	s.produced += n
}

// delivered waits until n events are counted. It fails if more are counted, or if an event is
// dropped or violates a rule of LaunchDarkly.
func (s *scene) delivered(n int) {
	s.t.Helper()
	if err := s.ld.Wait(s.ctx, n); err != nil {
		s.t.Fatalf("%d of %d events delivered", s.ld.Report().Processed, n)
	}
	if r := s.ld.Report(); r.Processed != n || r.Dropped > 0 || r.ViolationCount > 0 {
		s.t.Errorf("%d events counted, want %d; %d dropped; violations: %v", r.Processed, n, r.Dropped, r.Violations)
	}
}

// committed fails unless the committed offsets are the end offsets of the topic.
func (s *scene) committed() {
	s.t.Helper()
	ends, err := kafkatest.EndOffsets(s.ctx, s.kafka.Brokers(), s.topic)
	s.must(err)
	offsets, err := kafkatest.Committed(s.ctx, s.kafka.Brokers(), s.topic)
	s.must(err)
	for partition, end := range ends {
		if o, _ := offsets.Lookup(s.topic, partition); o.At != end {
			s.t.Errorf("partition %d: committed %d, want %d", partition, o.At, end)
		}
	}
}

// program is the program running in this process.
type program struct {
	*app.App
	s    *scene
	stop context.CancelFunc
	done chan error
}

func (s *scene) start() *program {
	s.t.Helper()
	return s.startWith(zaptest.NewLogger(s.t, zaptest.Level(zap.InfoLevel)))
}

func (s *scene) startWith(log *zap.Logger) *program {
	s.t.Helper()
	cfg, err := config.Load("", s.environ)
	s.must(err)
	a, err := app.New(cfg, log, app.Options{})
	s.must(err)
	ctx, stop := context.WithCancel(context.Background())
	p := &program{a, s, stop, make(chan error, 1)}
	go func() { p.done <- a.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		<-p.done //nolint:errcheck // leave checks it
	})
	return p
}

// leave stops the program and fails unless it delivered and committed everything.
func (p *program) leave() {
	p.s.t.Helper()
	p.stop()
	err := <-p.done
	p.done <- nil // for the cleanup
	if err != nil {
		p.s.t.Errorf("Run returned: %v", err)
	}
}

// ready waits until the response of /readyz satisfies the condition.
func (p *program) ready(satisfies func(text string) bool) {
	p.s.t.Helper()
	text := ""
	for !satisfies(text) {
		select {
		case <-p.s.ctx.Done():
			p.s.t.Fatalf("unexpected response of /readyz: %q", text)
		case err := <-p.done:
			p.done <- nil
			p.s.t.Fatalf("Run returned: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		text = p.readyz()
	}
}

func (p *program) readyz() string {
	response, err := http.Get("http://" + p.AdminAddress() + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return strings.TrimSpace(string(text))
}

// containsAll returns a condition for ready, which requires that the text contains all words.
func containsAll(words ...string) func(string) bool {
	return func(text string) bool {
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	}
}

// isReady is a condition for ready. It reports whether text is the response of a ready program.
func isReady(text string) bool { return text == "ok" }

// metric returns the sum over all series of a counter or gauge of the consumer.
func (p *program) metric(name string) (sum float64) {
	p.s.t.Helper()
	families, err := p.Gatherer().Gather()
	p.s.must(err)
	for _, f := range families {
		if f.GetName() == "segment_launchdarkly_consumer_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

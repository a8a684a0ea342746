package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// stage is an embedded Kafka broker, a fake LaunchDarkly, and the program between them, all in this
// process.
type stage struct {
	t       *testing.T
	ctx     context.Context
	cluster *kfake.Cluster
	client  []kgo.Opt // options of a client for the cluster
	ld      *ldtest.Server
	arrived chan struct{} // receives an element for a request to ld if it is empty
	front   atomic.Value  // http.HandlerFunc that serves the requests; ld unless a test replaces it
	log     *watchedLog
	environ []string
	options Options
	brokers string // addresses for the program; empty: the cluster's

	*App
	stop func() // ends the context, as SIGTERM does
	done chan error
}

const stageTopic = "segment"

// newStage returns a stage whose program is not running yet. environ holds environment variables of
// the program, which override the stage's.
func newStage(t *testing.T, partitions int32, environ ...string) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx, arrived: make(chan struct{}, 1), log: newWatchedLog()}
	s.ld = ldtest.New(ldtest.Config{Retain: true, OnRequest: func(ldtest.Request) {
		select {
		case s.arrived <- struct{}{}:
		default:
		}
	}})
	s.front.Store(http.HandlerFunc(s.ld.ServeHTTP))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.front.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(server.Close)
	s.environ = []string{
		"S2LD_KAFKA_TOPICS=" + stageTopic, "S2LD_KAFKA_GROUP=forwarder", "S2LD_LAUNCHDARKLY_EVENTS_URL=" + server.URL,
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
		"S2LD_BATCH_MAX_AGE=20ms", "S2LD_ADMIN_LISTEN=127.0.0.1:0",
		"S2LD_DELIVERY_TIMEOUT=500ms", "S2LD_DELIVERY_BACKOFF_MIN=1ms", "S2LD_DELIVERY_BACKOFF_MAX=100ms",
	}
	for _, override := range environ {
		name, _, _ := strings.Cut(override, "=")
		s.environ = slices.DeleteFunc(s.environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	}
	s.environ = append(s.environ, environ...)
	s.startKafka(partitions)
	return s
}

// startKafka starts a new cluster with additional options, and closes the previous one.
func (s *stage) startKafka(partitions int32, opts ...kfake.Opt) {
	s.t.Helper()
	if s.cluster != nil {
		s.cluster.Close()
	}
	opts = append(opts, kfake.SeedTopics(partitions, stageTopic), kfake.SeedTopics(1, "segment.dead"),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	var err error
	if s.cluster, err = kafkatest.NewEmbedded(opts...); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.cluster.Close)
}

// run starts the program and stops it when the test ends.
func (s *stage) run() {
	s.t.Helper()
	cfg, err := config.Load("", append(s.environ, "S2LD_KAFKA_BROKERS="+cmp.Or(s.brokers, s.cluster.ListenAddrs()[0])))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.App, err = New(cfg, zap.New(s.log.core()), s.options); err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.stop, s.done = stop, done
	go func() {
		done <- s.Run(ctx)
		close(done)
	}()
	s.t.Cleanup(s.leave)
}

// leave stops the program and waits until Run returns. It can be called more than once.
func (s *stage) leave() {
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("Run returned: %v\n%s", err, s.log.text())
	}
}

// produce produces one record per value.
func (s *stage) produce(values ...string) {
	s.t.Helper()
	client, err := kgo.NewClient(slices.Concat(s.client, []kgo.Opt{
		kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.DefaultProduceTopic(stageTopic),
	})...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	for i, value := range values {
		record := &kgo.Record{Key: fmt.Append(nil, i), Value: []byte(value)}
		if err := client.ProduceSync(s.ctx, record).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// track returns a valid track call.
func track(user string) string {
	return fmt.Sprintf(`{"type":"track","event":"e","userId":%q,"timestamp":"2026-01-02T03:04:05Z"}`, user)
}

// delivered waits until LaunchDarkly has counted n events.
func (s *stage) delivered(n int) {
	s.t.Helper()
	if err := s.ld.Wait(s.ctx, n); err != nil {
		s.t.Fatalf("%d of %d events delivered: %v\n%s", s.ld.Report().Processed, n, err, s.log.text())
	}
}

// reply is a response of the admin server.
type reply struct {
	code   int
	header http.Header
	body   string
}

// ask sends a request to the admin server. headers holds names and values alternately.
func (s *stage) ask(method, path string, headers ...string) reply {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.ctx, method, "http://"+s.AdminAddress()+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// get returns the status and the body of the response to a GET request.
func (s *stage) get(path string) string {
	s.t.Helper()
	r := s.ask(http.MethodGet, path)
	return fmt.Sprintf("%d %s", r.code, r.body)
}

// watchedLog records all log entries. A test can wait for an entry.
type watchedLog struct {
	wrote sync.Cond // of mu

	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

func newWatchedLog() *watchedLog {
	l := &watchedLog{}
	l.wrote.L = &l.mu
	return l
}

func (l *watchedLog) core() zapcore.Core {
	return zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(l), zap.DebugLevel)
}

func (l *watchedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrote.Broadcast()
	return l.b.Write(p)
}

func (l *watchedLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits for an entry whose message starts with message.
func (l *watchedLog) await(ctx context.Context, t *testing.T, message string) {
	t.Helper()
	stop := context.AfterFunc(ctx, l.wrote.Broadcast)
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !strings.Contains(l.b.String(), `"msg":"`+message) {
		if ctx.Err() != nil {
			t.Fatalf("not logged: %q\n%s", message, l.b.String())
		}
		l.wrote.Wait()
	}
}

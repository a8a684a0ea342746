package checks

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	topic       = "segment"
	deadLetters = "segment.dead"
)

// world is the program's environment: an embedded broker, a producer, and a fake LaunchDarkly.
type world struct {
	kafka  *kfake.Cluster
	client *kgo.Client
	ld     *ldtest.Server
	url    string        // URL of LaunchDarkly
	jammed atomic.Bool   // respond with 503 to request bodies with an event named jam
	calls  atomic.Uint64 // calls generated so far
}

func newWorld(t *testing.T, partitions int32) *world {
	t.Helper()
	w := &world{ld: ldtest.New(ldtest.Config{})}
	var err error
	w.kafka, err = kafkatest.NewEmbedded(kfake.SeedTopics(partitions, topic), kfake.SeedTopics(1, deadLetters))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kafka.Close)
	w.client, err = kgo.NewClient(
		kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// ServeHTTP responds like LaunchDarkly.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if w.jammed.Load() {
		body, err := io.ReadAll(r.Body)
		if err != nil || bytes.Contains(body, []byte(`"key":"jam"`)) {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.ld.ServeHTTP(rw, r)
}

// env returns the environment variables of a replica in this world, with short timeouts.
func (w *world) env(more ...string) []string {
	return append([]string{
		"S2LD_KAFKA_BROKERS=" + strings.Join(w.kafka.ListenAddrs(), ","), "S2LD_KAFKA_TOPICS=" + topic,
		"S2LD_DEAD_LETTERS_TOPIC=" + deadLetters, "S2LD_LAUNCHDARKLY_EVENTS_URL=" + w.url,
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
		"S2LD_BATCH_MAX_AGE=50ms", "S2LD_BATCH_GZIP=false",
		"S2LD_DELIVERY_BACKOFF_MIN=20ms", "S2LD_DELIVERY_BACKOFF_MAX=200ms", "S2LD_DELIVERY_DRAIN_TIMEOUT=500ms",
	}, more...)
}

// track returns a track call with the given event name.
func (w *world) track(event string) string {
	return fmt.Sprintf(`{"type":"track","event":%q,"userId":"u%d","timestamp":1592588370692}`, event, w.calls.Add(1))
}

// produce writes a call to a partition.
func (w *world) produce(t *testing.T, partition int32, call string) {
	t.Helper()
	r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(call)}
	if err := w.client.ProduceSync(t.Context(), r).FirstErr(); err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
}

// flow produces a call to each partition once per interval until the test ends or stop is called.
func (w *world) flow(t *testing.T, partitions int32, interval time.Duration,
	call func(partition int32) string) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				for p := range partitions {
					w.produce(t, p, call(p))
				}
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); running.Wait() })
	t.Cleanup(stop)
	return stop
}

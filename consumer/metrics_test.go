package consumer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

func TestMetricsByTopicCombineThePartitions(t *testing.T) {
	const partitions, other = 2000, "other"
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		c := &Consumer{
			cfg: Config{MetricsByTopic: true}, metrics: newMetrics(reg), health: newHealth(zap.NewNop()), rejects: &rejects{},
		}
		reg.MustRegister(newCollector(c))
		known := map[string]knownTopic{testTopic: {config: topicConfig{retention: 24 * time.Hour}}}
		memory := &memory{budget: sink.NewBudget(1 << 20)}
		c.current = &session{
			environment: &environment{topics: &topics{known: known}}, poller: &poller{},
			partitions: map[topicPartition]*partition{},
		}
		now := time.Now()
		add := func(topic string, number int32, oldest time.Time) {
			at := start{topicPartition: topicPartition{topic, number}, position: position{10, 1}, end: 13}
			p := newPartition(at, "", zap.NewNop(), newWindow(at, topicID{}, memory, func(bool) {}))
			if !oldest.IsZero() {
				b := &batch{first: at.position, next: 12, opened: oldest, recordTime: oldest, state: stateSealed}
				p.window.push(b, position{12, 1}, nil)
			}
			c.current.partitions[at.topicPartition] = p
		}
		for number := range int32(partitions) {
			oldest := time.Time{}
			if number%2 == 1 {
				oldest = now.Add(-time.Duration(number) * time.Second)
			}
			add(testTopic, number, oldest)
		}
		add(other, 0, time.Time{})

		found := (&member{reg: reg}).gauges(t)
		for name, want := range map[string]float64{
			oldestGauge: float64(now.Add(-1999*time.Second).UnixMilli()) / 1000,
			leftGauge:   (24*time.Hour - 1999*time.Second).Seconds(),
		} {
			if got, ok := found[name]; !ok || got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
		page := httptest.NewRecorder()
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		text := page.Body.String()
		if len(text) > 50_000 || strings.Contains(text, labelPartition+`="`) {
			t.Errorf("/metrics has %d bytes for %d partitions", len(text), partitions)
		}
		for _, line := range []string{`lag_records{topic="other"} 3`, `lag_records{topic="segment"} 6000`} {
			if !strings.Contains(text, prefix+line+"\n") {
				t.Errorf("/metrics does not contain %s", line)
			}
		}
	})
}

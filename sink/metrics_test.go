package sink

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func gather(t *testing.T, r *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]*dto.MetricFamily{}
	for _, f := range families {
		named[f.GetName()] = f
	}
	return named
}

func TestMetricsPassPromlintAndExistFromTheStart(t *testing.T) {
	r, budget := prometheus.NewRegistry(), NewBudget(1000)
	NewMetrics(r, budget)
	budget.Add(400)
	families := gather(t, r)
	var names []string
	for name, f := range families {
		names = append(names, strings.TrimPrefix(name, "segment_launchdarkly_sink_"))
		problems, err := promlint.NewWithMetricFamilies([]*dto.MetricFamily{f}).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", name, problems, err)
		}
	}
	slices.Sort(names)
	want := []string{
		"buffered_bytes", "buffered_limit_bytes", "events_delivered_total", "events_refused_total", "halted", "halts_total",
		"last_delivery_timestamp_seconds", "rate_limited", "request_bytes", "request_duration_seconds", "request_events",
		"requests_in_flight", "requests_total", "retries_total", "splits_total",
	}
	if !slices.Equal(names, want) {
		t.Errorf("series at the start: %q, want %q", names, want)
	}
	if n := len(families["segment_launchdarkly_sink_requests_total"].Metric); n != 7 {
		t.Errorf("%d codes at the start, want 7", n)
	}
	if got := families["segment_launchdarkly_sink_buffered_bytes"].Metric[0].Gauge.GetValue(); got != 400 {
		t.Errorf("%v bytes buffered, want 400", got)
	}
	if got := families["segment_launchdarkly_sink_buffered_limit_bytes"].Metric[0].Gauge.GetValue(); got != 1000 {
		t.Errorf("limit %v, want 1000", got)
	}
}

func TestMetricsCountRequests(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Status: 429}, ldtest.Fault{Kind: ldtest.Reset, Accepted: true},
			ldtest.Fault{Kind: ldtest.Truncated, Accepted: true},
			ldtest.Fault{Kind: ldtest.Truncated, Status: 503})
		b.deliver(b.batch(10))
		b.settle(b.cfg.BackoffMax)
		families := gather(t, b.metrics)
		codes := map[string]float64{}
		for _, m := range families["segment_launchdarkly_sink_requests_total"].Metric {
			if n := m.Counter.GetValue(); n > 0 {
				codes[m.Label[0].GetValue()] = n
			}
		}
		if len(codes) != 4 || codes["202"] != 1 || codes["429"] != 1 || codes["503"] != 1 || codes["error"] != 2 {
			t.Errorf("requests by code: %v", codes)
		}
		size := float64(len(b.bodies[b.requests(0)[0].PayloadID]))
		for name, sum := range map[string]float64{
			"request_events": 5 * 10, "request_bytes": 5 * size, "request_duration_seconds": 0,
		} {
			h := families["segment_launchdarkly_sink_"+name].Metric[0].Histogram
			if h.GetSampleCount() != 5 || h.GetSampleSum() != sum {
				t.Errorf("%s: %d samples, sum %v, want 5, %v", name, h.GetSampleCount(), h.GetSampleSum(), sum)
			}
		}
		if b.gauge("retries_total") != 4 || b.gauge("events_delivered_total") != 10 || b.gauge("halts_total") != 0 {
			t.Errorf("%v retries, %v events", b.gauge("retries_total"), b.gauge("events_delivered_total"))
		}
		got := b.client.Status()
		want := Status{
			Requests: map[string]int64{"202": 1, "429": 1, "503": 1, "error": 2}, Retries: 4, Delivered: 10,
			LastDelivery: got.LastDelivery,
		}
		last := int64(b.gauge("last_delivery_timestamp_seconds"))
		if !reflect.DeepEqual(got, want) || got.LastDelivery.Unix() != last {
			t.Errorf("status %+v, want %+v", got, want)
		}
	})
}

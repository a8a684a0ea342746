package checks

import (
	"maps"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// exported are the series that a program shows: by name, its labels, and by label its values.
type exported map[string]map[string]map[string]bool

func (e exported) add(name string, labels map[string]string) {
	if e[name] == nil {
		e[name] = map[string]map[string]bool{}
	}
	for label, value := range labels {
		if e[name][label] == nil {
			e[name][label] = map[string]bool{}
		}
		e[name][label][value] = true
	}
}

// addScrape adds what a scrape shows, histograms and summaries as the series that Prometheus makes of them.
func (e exported) addScrape(families map[string]*dto.MetricFamily) {
	for name, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM, dto.MetricType_SUMMARY:
				e.add(name+"_sum", labels)
				e.add(name+"_count", labels)
				series := map[dto.MetricType][2]string{dto.MetricType_HISTOGRAM: {name + "_bucket", "le"}, dto.MetricType_SUMMARY: {name, "quantile"}}[f.GetType()]
				of := maps.Clone(labels)
				of[series[1]] = ""
				e.add(series[0], of)
			default:
				e.add(name, labels)
			}
		}
	}
}

// series runs the program through what makes it show all that it can show, and returns that: calls of every outcome,
// an event that LaunchDarkly refuses, dead letters, undelivered records, and a broker that goes away.
func series(t *testing.T) exported {
	w := newWorld(t, 2)
	w.ld.Poison(ldtest.Containing(`"key":"poison"`))
	w.ld.Down(ldtest.Fault{Status: 503})
	for _, call := range []string{w.track("Order Completed"), w.track("poison"), w.track("Order Completed"), `{"type":"page"}`, `{"type":"track"}`, `{`} {
		w.produce(t, 0, call)
	}
	r := start(t, w.env()...)
	found := exported{}
	until(t, "an undelivered record", 20*time.Second, func() bool {
		families := r.scrape(t)
		found.addScrape(families)
		return families["segment_launchdarkly_consumer_retention_left_seconds"] != nil
	})
	w.ld.Up()
	until(t, "deliveries and dead letters", 20*time.Second, func() bool {
		families := r.scrape(t)
		return total(families["segment_launchdarkly_sink_events_delivered_total"]) == 2 &&
			total(families["segment_launchdarkly_consumer_dead_letters_total"]) == 3
	})
	found.addScrape(r.scrape(t))
	w.kafka.Close()
	until(t, "connections that break and fail", 20*time.Second, func() bool {
		families := r.scrape(t)
		found.addScrape(families)
		return families["segment_launchdarkly_kafka_connect_errors_total"] != nil && families["segment_launchdarkly_kafka_read_errors_total"] != nil
	})
	return found
}

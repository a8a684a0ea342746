package checks

import (
	"maps"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// exported holds the values of each label by metric name and label name.
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

// addScrape adds the metrics of a scrape. Histograms and summaries become the series that
// Prometheus stores for them.
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
				series, label := name, "quantile"
				if f.GetType() == dto.MetricType_HISTOGRAM {
					series, label = name+"_bucket", "le"
				}
				withLabel := maps.Clone(labels)
				withLabel[label] = ""
				e.add(series, withLabel)
			default:
				e.add(name, labels)
			}
		}
	}
}

// exportedSeries runs the program until it has exported every series that it can export, and
// returns them. It produces calls with each outcome, one of them an event that LaunchDarkly
// rejects, keeps LaunchDarkly down for a while, and then stops the broker.
func exportedSeries(t *testing.T) exported {
	w := newWorld(t, 2)
	w.ld.Poison(ldtest.Containing(`"key":"poison"`))
	w.ld.Down(ldtest.Fault{Status: 503})
	for _, call := range []string{
		w.track("Order Completed"), w.track("poison"), w.track("Order Completed"),
		`{"type":"page"}`, `{"type":"track"}`, `{`,
	} {
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
	until(t, "read errors and connect errors", 20*time.Second, func() bool {
		families := r.scrape(t)
		found.addScrape(families)
		return families["segment_launchdarkly_kafka_connect_errors_total"] != nil &&
			families["segment_launchdarkly_kafka_read_errors_total"] != nil
	})
	return found
}

package main

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// counts holds what the program's metrics report.
type counts struct {
	consumed  int64                    // records
	calls     [transform.Reasons]int64 // by reason; None for those that became events
	delivered int64                    // events
	requests  int64
	retries   int64
}

const namespace = "segment_launchdarkly_"

// readCounts reads the program's metrics.
func readCounts(metrics prometheus.Gatherer) (c counts, err error) {
	families, err := metrics.Gather()
	if err != nil {
		return c, err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			value := int64(m.GetCounter().GetValue())
			switch strings.TrimPrefix(f.GetName(), namespace) {
			case "consumer_records_total":
				c.consumed += value
			case "consumer_calls_total":
				c.calls[reasonOf(m)] += value
			case "sink_events_delivered_total":
				c.delivered += value
			case "sink_requests_total":
				c.requests += value
			case "sink_retries_total":
				c.retries += value
			}
		}
	}
	return c, nil
}

// reasonOf returns the reason in the labels of a series.
func reasonOf(m *dto.Metric) transform.Reason {
	for _, label := range m.GetLabel() {
		for reason := range transform.Reasons {
			if label.GetName() == "reason" && label.GetValue() == reason.String() {
				return reason
			}
		}
	}
	return transform.None
}

// of returns the calls with an outcome.
func (c *counts) of(outcome transform.Outcome) (n int64) {
	for reason, calls := range c.calls {
		if transform.Reason(reason).Outcome() == outcome {
			n += calls
		}
	}
	return n
}

// reasons formats the calls with an outcome by reason, for example "not_track 4,700, tombstone 20",
// or "none".
func (c *counts) reasons(outcome transform.Outcome) string {
	var parts []string
	for reason, calls := range c.calls {
		if r := transform.Reason(reason); calls > 0 && r.Outcome() == outcome {
			parts = append(parts, r.String()+" "+number(calls))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

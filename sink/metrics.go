package sink

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	prefix = "segment_launchdarkly_sink_" // prefix of all metric names

	labelCode = "code"
	codeError = "error" // label value if there was no readable response
)

// Metrics contains the package's metrics. Use [NewMetrics] to create it.
type Metrics struct {
	requests      *prometheus.CounterVec
	duration      prometheus.Histogram
	requestEvents prometheus.Histogram
	requestBytes  prometheus.Histogram
	delivered     prometheus.Counter
	refused       prometheus.Counter
	retries       prometheus.Counter
	splits        prometheus.Counter
	halts         prometheus.Counter
	halted        prometheus.Gauge
	inFlight      prometheus.Gauge
	rateLimited   prometheus.Gauge
	lastDelivery  prometheus.Gauge
}

// NewMetrics registers the package's metrics and returns them. budget provides the values of
// buffered_bytes and buffered_limit_bytes.
func NewMetrics(r prometheus.Registerer, budget *Budget) *Metrics {
	auto := promauto.With(r)
	m := &Metrics{
		requests: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "requests_total",
			Help: "Requests to LaunchDarkly, by status code. The code \"error\" means that there was no readable response.",
		}, []string{labelCode}),
		duration: auto.NewHistogram(prometheus.HistogramOpts{Name: prefix + "request_duration_seconds",
			Help:    "Duration of requests to LaunchDarkly.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}),
		requestEvents: auto.NewHistogram(prometheus.HistogramOpts{Name: prefix + "request_events",
			Help: "Events per request.", Buckets: []float64{1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000}}),
		requestBytes: auto.NewHistogram(prometheus.HistogramOpts{Name: prefix + "request_bytes",
			Help: "Size of request bodies in bytes, after any compression.", Buckets: prometheus.ExponentialBuckets(256, 4, 8)}),
		delivered: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "events_delivered_total",
			Help: "Events accepted by LaunchDarkly."}),
		refused: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "events_refused_total",
			Help: "Events rejected individually by LaunchDarkly."}),
		retries: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "retries_total",
			Help: "Attempts to resend a request body after a failure."}),
		splits: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "splits_total",
			Help: "Request bodies split in two."}),
		halts: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "halts_total",
			Help: "Number of times that delivery was halted."}),
		halted: auto.NewGauge(prometheus.GaugeOpts{Name: prefix + "halted",
			Help: "1 while delivery is halted because LaunchDarkly rejects the URL, the credentials, or every event, " +
				"otherwise 0."}),
		inFlight: auto.NewGauge(prometheus.GaugeOpts{Name: prefix + "requests_in_flight", Help: "Requests in flight."}),
		rateLimited: auto.NewGauge(prometheus.GaugeOpts{Name: prefix + "rate_limited",
			Help: "1 while requests wait because of delivery.max_events_per_second, otherwise 0."}),
		lastDelivery: auto.NewGauge(prometheus.GaugeOpts{Name: prefix + "last_delivery_timestamp_seconds",
			Help: "Unix time of the last accepted request, or 0 before the first."}),
	}
	for _, code := range []string{"202", "400", "401", "429", "500", "503", codeError} {
		m.requests.WithLabelValues(code) // create the series, so that rate() sees the first increment
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "buffered_bytes",
		Help: "Bytes used by buffered request bodies and unwritten dead letters."},
		func() float64 { return float64(budget.Used()) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "buffered_limit_bytes",
		Help: "Limit on buffered_bytes (delivery.max_buffered)."}, func() float64 { return float64(budget.Limit()) })
	return m
}

// setRateLimited sets the metric for requests that wait because of the maximum rate.
func (m *Metrics) setRateLimited(yes bool) {
	value := 0.0
	if yes {
		value = 1
	}
	m.rateLimited.Set(value)
}

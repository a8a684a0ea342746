package sink

import "github.com/prometheus/client_golang/prometheus"

const (
	metricNamespace = "segment_launchdarkly"
	metricSubsystem = "sink"

	labelCode = "code"
	codeError = "error" // no readable answer
)

// Metrics are the package's metrics. See [NewMetrics].
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
	lastDelivery  prometheus.Gauge
}

// NewMetrics registers the package's metrics. budget is what buffered_bytes shows.
func NewMetrics(r prometheus.Registerer, budget *Budget) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: metricNamespace, Subsystem: metricSubsystem, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: metricNamespace, Subsystem: metricSubsystem, Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: metricNamespace, Subsystem: metricSubsystem, Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Subsystem: metricSubsystem,
			Name: "requests_total", Help: "Requests to LaunchDarkly by status code, or error where there was no readable answer."}, []string{labelCode}),
		duration:      histogram("request_duration_seconds", "Duration of requests to LaunchDarkly.", []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}),
		requestEvents: histogram("request_events", "Events per request.", []float64{1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000}),
		requestBytes:  histogram("request_bytes", "Bytes of body per request, as sent.", prometheus.ExponentialBuckets(256, 4, 8)),
		delivered:     counter("events_delivered_total", "Events that LaunchDarkly accepted."),
		refused:       counter("events_refused_total", "Events that LaunchDarkly refused one by one."),
		retries:       counter("retries_total", "Attempts that followed a failed attempt for the same body."),
		splits:        counter("splits_total", "Bodies that were split in two."),
		halts:         counter("halts_total", "Times that LaunchDarkly refused us."),
		halted:        gauge("halted", "1 while LaunchDarkly refuses us and nothing is delivered."),
		inFlight:      gauge("requests_in_flight", "Requests under way."),
		lastDelivery:  gauge("last_delivery_timestamp_seconds", "Unix time of the last accepted request; 0 before the first."),
	}
	for _, code := range []string{"202", "400", "401", "429", "500", "503", codeError} {
		m.requests.WithLabelValues(code) // so that rate() sees the first increment
	}
	r.MustRegister(m.requests, m.duration, m.requestEvents, m.requestBytes, m.delivered, m.refused, m.retries, m.splits,
		m.halts, m.halted, m.inFlight, m.lastDelivery,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: metricNamespace, Subsystem: metricSubsystem, Name: "buffered_bytes",
			Help: "Bytes of all bodies that wait, open and sealed."}, func() float64 { return float64(budget.Used()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: metricNamespace, Subsystem: metricSubsystem, Name: "buffered_limit_bytes",
			Help: "Bound of buffered_bytes (delivery.max_buffered)."}, func() float64 { return float64(budget.limit) }))
	return m
}

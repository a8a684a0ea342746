package consumer

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const (
	prefix = "segment_launchdarkly_consumer_" // prefix of all metric names

	labelOutcome   = "outcome"
	labelReason    = "reason"
	labelCause     = "cause"
	labelResult    = "result"
	labelEvent     = "event"
	labelTopic     = "topic"
	labelPartition = "partition"

	resultOK    = "ok"
	resultError = "error"

	rebalanceAssigned = "assigned"
	rebalanceRevoked  = "revoked"
	rebalanceLost     = "lost"
)

// metrics holds the package's metrics. Partition metrics are collected from the partitions' state,
// so a partition's series disappear when it is released.
type metrics struct {
	records atomic.Int64                    // number of mapped records
	calls   [transform.Reasons]atomic.Int64 // number of mapped calls, by reason

	noMetricValue atomic.Int64 // number of events with transform.Call.NoMetricValue set
	recordTime    atomic.Int64 // number of events with transform.Call.RecordTime set
	lost          atomic.Int64 // number of offsets deleted before they were read

	batches        *prometheus.CounterVec
	batchEvents    prometheus.Histogram
	delay          prometheus.Histogram
	deadLetters    *prometheus.CounterVec
	commits        *prometheus.CounterVec
	commitDuration prometheus.Histogram
	rebalances     *prometheus.CounterVec
	pollErrors     prometheus.Counter
	recreations    prometheus.Counter
	moves          *prometheus.CounterVec
	sessionsEnded  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	auto := promauto.With(r)
	m := &metrics{
		batches: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "batches_total",
			Help: "Batches sealed, by cause."}, []string{labelCause}),
		batchEvents: auto.NewHistogram(prometheus.HistogramOpts{Name: prefix + "batch_events",
			Help: "Events per sealed batch.", Buckets: []float64{1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000}}),
		delay: auto.NewHistogram(prometheus.HistogramOpts{Name: prefix + "delivery_delay_seconds",
			Help:    "Age of a batch's oldest record with events when the batch is delivered, once per batch.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}}),
		deadLetters: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "dead_letters_total",
			Help: "Dead letters written, by reason."}, []string{labelReason}),
		commits: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "commits_total",
			Help: "Commit requests, by result."}, []string{labelResult}),
		commitDuration: auto.NewHistogram(prometheus.HistogramOpts{Name: prefix + "commit_duration_seconds",
			Help:    "Duration of commit requests.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}}),
		rebalances: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "rebalances_total",
			Help: "Partition assignment changes, by type (assigned, revoked, or lost)."}, []string{labelEvent}),
		pollErrors: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "poll_errors_total",
			Help: "Fetch errors."}),
		recreations: auto.NewCounter(prometheus.CounterOpts{Name: prefix + "topic_recreations_total",
			Help: "Topics deleted and recreated."}),
		moves: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "position_moves_total",
			Help: "Partitions that could not start at their committed offset, by cause."}, []string{labelCause}),
		sessionsEnded: auto.NewCounterVec(prometheus.CounterOpts{Name: prefix + "sessions_ended_total",
			Help: "Consumer group memberships that ended, by cause."}, []string{labelCause}),
	}
	auto.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "records_total", Help: "Records mapped."},
		func() float64 { return float64(m.records.Load()) })
	auto.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "events_without_metric_value_total",
		Help: "Events without a metric value although a configured field was not null."},
		func() float64 { return float64(m.noMetricValue.Load()) })
	auto.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "events_at_record_time_total",
		Help: "Events that use the record's timestamp, because the call contains no valid time."},
		func() float64 { return float64(m.recordTime.Load()) })
	auto.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "records_lost_total",
		Help: "Records deleted by retention before they were read, counted as offsets."},
		func() float64 { return float64(m.lost.Load()) })
	for reason := range transform.Reasons {
		auto.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "calls_total",
			Help:        "Segment calls, by outcome and reason.",
			ConstLabels: prometheus.Labels{labelOutcome: reason.Outcome().String(), labelReason: reason.String()},
		}, func() float64 { return float64(m.calls[reason].Load()) })
	}
	// Create every series at startup, so that rate() sees the first increment.
	for vector, values := range map[*prometheus.CounterVec][]string{
		m.batches:       {sealFull, sealAge, sealPressure, sealCut, sealDrain, sealEnd},
		m.deadLetters:   DeadLetterReasons(),
		m.commits:       {resultOK, resultError},
		m.rebalances:    {rebalanceAssigned, rebalanceRevoked, rebalanceLost},
		m.moves:         {moveRecreated, moveTruncated, moveForeign},
		m.sessionsEnded: endCauses,
	} {
		for _, value := range values {
			vector.WithLabelValues(value)
		}
	}
	return m
}

// collector collects the metrics computed from the consumer's state.
type collector struct {
	c           *Consumer
	byPartition []*prometheus.Desc // descriptions of partitionGauges
}

// newDesc returns a metric description, adding the common prefix to the name.
func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	assignedDesc   = newDesc("assigned_partitions", "Partitions assigned to this member.")
	joinedDesc     = newDesc("joined", "1 if this member has joined the group, otherwise 0.")
	problemsDesc   = newDesc("problems", "Problems that an operator should look at. /readyz lists them.")
	queuedDesc     = newDesc("queued_bytes", "Bytes of records polled but not yet mapped.")
	lastPollDesc   = newDesc("last_poll_timestamp_seconds", "Unix time of the last poll, or 0 before the first.")
	lastCommitDesc = newDesc("last_commit_timestamp_seconds",
		"Unix time of the last successful commit, or 0 before the first.")
)

// partitionGauges lists the metrics of a partition or, with Config.MetricsByTopic, of a topic. A
// metric is omitted if its value is unknown or there is no undelivered record. With a placeholder
// value, every expression on the age or the time left would need an exception.
var partitionGauges = []struct {
	name, help string
	ofTopic    string // how the values of a topic's partitions are combined; see byTopic
	value      func(p PartitionStatus) (value float64, ok bool)
}{
	{"watermark_offset", "First offset not yet delivered.", "Sum",
		func(p PartitionStatus) (float64, bool) { return float64(p.Watermark), true }},
	{"committed_offset", "Last committed offset.", "Sum",
		func(p PartitionStatus) (float64, bool) { return float64(p.Committed), true }},
	{"lag_records", "Number of offsets from the watermark to the end offset (last stable offset).", "Sum",
		func(p PartitionStatus) (float64, bool) { return float64(p.Lag), true }},
	{"in_flight_batches", "Sealed batches not yet delivered.", "Sum",
		func(p PartitionStatus) (float64, bool) { return float64(p.InFlight), true }},
	{"oldest_batch_age_seconds",
		"Time since the first event or rejected call of the oldest undelivered batch was read, or 0 if there is none.",
		"Maximum",
		func(p PartitionStatus) (float64, bool) { return p.Age.Seconds(), true }},
	{"oldest_undelivered_timestamp_seconds",
		"Unix time of the oldest undelivered record. Absent if there is none.", "Minimum",
		func(p PartitionStatus) (float64, bool) {
			return float64(p.Oldest.UnixMilli()) / 1000, !p.Oldest.IsZero()
		}},
	{"retention_left_seconds",
		"Time until retention.ms allows Kafka to delete the oldest undelivered record; negative once that time has passed. " +
			"Absent if there is no such record, or if the topic's retention is unlimited or unknown.", "Minimum",
		func(p PartitionStatus) (float64, bool) {
			return time.Until(p.Deletable).Seconds(), !p.Deletable.IsZero()
		}},
}

func newCollector(c *Consumer) *collector {
	k := &collector{c: c}
	for _, g := range partitionGauges {
		if c.cfg.MetricsByTopic {
			help := g.help + " " + g.ofTopic + " over the topic's partitions assigned to this member."
			k.byPartition = append(k.byPartition, newDesc(g.name, help, labelTopic))
		} else {
			k.byPartition = append(k.byPartition, newDesc(g.name, g.help, labelTopic, labelPartition))
		}
	}
	return k
}

func (k *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{
		assignedDesc, joinedDesc, problemsDesc, queuedDesc, lastPollDesc, lastCommitDesc,
	}, k.byPartition...) {
		ch <- d
	}
}

func (k *collector) Collect(ch chan<- prometheus.Metric) {
	s := k.c.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	joined := 0.0
	if s.Joined {
		joined = 1
	}
	gauge(joinedDesc, joined)
	gauge(assignedDesc, float64(len(s.Partitions)))
	gauge(problemsDesc, float64(len(s.Problems)))
	gauge(queuedDesc, float64(k.c.queued()))
	var poll, commit float64
	if !s.LastPoll.IsZero() {
		poll = float64(s.LastPoll.UnixMilli()) / 1000
	}
	if !s.LastCommit.IsZero() {
		commit = float64(s.LastCommit.UnixMilli()) / 1000
	}
	gauge(lastPollDesc, poll)
	gauge(lastCommitDesc, commit)
	shown := s.Partitions
	if k.c.cfg.MetricsByTopic {
		shown = byTopic(shown)
	}
	for _, p := range shown {
		labels := []string{p.Topic, strconv.Itoa(int(p.Partition))}
		if k.c.cfg.MetricsByTopic {
			labels = labels[:1]
		}
		for i, g := range partitionGauges {
			if v, ok := g.value(p); ok {
				gauge(k.byPartition[i], v, labels...)
			}
		}
	}
}

// byTopic returns one status per topic. partitions must be sorted by topic. See partitionGauges for
// how values are combined.
func byTopic(partitions []PartitionStatus) (topics []PartitionStatus) {
	earlier := func(a, b time.Time) time.Time {
		if a.IsZero() || !b.IsZero() && b.Before(a) {
			return b
		}
		return a
	}
	for _, p := range partitions {
		if len(topics) == 0 || topics[len(topics)-1].Topic != p.Topic {
			topics = append(topics, p)
			continue
		}
		t := &topics[len(topics)-1]
		t.Watermark, t.Committed, t.Lag = t.Watermark+p.Watermark, t.Committed+p.Committed, t.Lag+p.Lag
		t.InFlight, t.Age = t.InFlight+p.InFlight, max(t.Age, p.Age)
		t.Oldest, t.Deletable = earlier(t.Oldest, p.Oldest), earlier(t.Deletable, p.Deletable)
	}
	return topics
}

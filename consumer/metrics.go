package consumer

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const (
	namespace = "segment_launchdarkly"
	subsystem = "consumer"

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

// metrics are the package's metrics. Those of a partition are collected from its
// state, so that a partition that was given up leaves no series behind.
type metrics struct {
	records        prometheus.Counter
	calls          [transform.Reasons]prometheus.Counter
	batches        *prometheus.CounterVec
	batchEvents    prometheus.Histogram
	delay          prometheus.Histogram
	deadLetters    *prometheus.CounterVec
	commits        *prometheus.CounterVec
	commitDuration prometheus.Histogram
	rebalances     *prometheus.CounterVec
	pollErrors     prometheus.Counter
	lost           prometheus.Counter
	recreations    prometheus.Counter
	moves          *prometheus.CounterVec
	sessionsEnded  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, c *Consumer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
	}
	// All series are created now, so that rate() sees the first increment.
	vector := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	histogram := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		records:     counter("records_total", "Records taken."),
		batches:     vector("batches_total", "Batches sealed, by cause.", labelCause, sealFull, sealAge, sealPressure, sealCut, sealDrain),
		batchEvents: histogram("batch_events", "Events per sealed batch.", 1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000),
		delay: histogram("delivery_delay_seconds", "Time from the timestamp of a batch's oldest record to its delivery.",
			.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
		deadLetters:    vector("dead_letters_total", "Dead letters written, by reason.", labelReason, reasonRefused),
		commits:        vector("commits_total", "Commit requests, by result.", labelResult, resultOK, resultError),
		commitDuration: histogram("commit_duration_seconds", "Duration of commit requests.", .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30),
		rebalances:     vector("rebalances_total", "Changes of the assignment, by event.", labelEvent, rebalanceAssigned, rebalanceRevoked, rebalanceLost),
		pollErrors:     counter("poll_errors_total", "Errors of fetching."),
		lost:           counter("records_lost_total", "Offsets that retention deleted before they were read."),
		recreations:    counter("topic_recreations_total", "Times that a topic was deleted and created again."),
		moves: vector("position_moves_total", "Partitions whose committed offset was not one of the present log, by cause.", labelCause,
			moveRecreated, moveTruncated, moveForeign),
		sessionsEnded: vector("sessions_ended_total", "Memberships of the consumer group that ended, by cause.", labelCause, endCauses...),
	}
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem,
		Name: "calls_total", Help: "Segment calls, by outcome and reason."}, []string{labelOutcome, labelReason})
	for reason := range transform.Reasons {
		m.calls[reason] = calls.WithLabelValues(reason.Outcome().String(), reason.String())
		if reason.Outcome() == transform.Rejected {
			m.deadLetters.WithLabelValues(reason.String())
		}
	}
	r.MustRegister(m.records, calls, m.batches, m.batchEvents, m.delay, m.deadLetters, m.commits, m.commitDuration,
		m.rebalances, m.pollErrors, m.lost, m.recreations, m.moves, m.sessionsEnded, collector{c})
	return m
}

// collector shows the consumer's state.
type collector struct{ c *Consumer }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

var (
	assignedDesc  = describe("assigned_partitions", "Partitions assigned to this member.")
	joinedDesc    = describe("joined", "1 once the group has let this member in.")
	problemsDesc  = describe("problems", "Problems that an operator should look at; /readyz names them.")
	queuedDesc    = describe("queued_bytes", "Bytes of records that were polled and not taken yet.")
	lastPollDesc  = describe("last_poll_timestamp_seconds", "Unix time of the last poll; 0 before the first.")
	lastComDesc   = describe("last_commit_timestamp_seconds", "Unix time of the last successful commit; 0 before the first.")
	watermarkDesc = describe("watermark_offset", "First offset that is not delivered.", labelTopic, labelPartition)
	committedDesc = describe("committed_offset", "Last committed offset.", labelTopic, labelPartition)
	lagDesc       = describe("lag_records", "Offsets from the watermark to the end of the log (last stable offset).", labelTopic, labelPartition)
	flightDesc    = describe("in_flight_batches", "Sealed batches that are not delivered.", labelTopic, labelPartition)
	oldestDesc    = describe("oldest_batch_age_seconds", "Age of the oldest batch that is not delivered; 0 if there is none.", labelTopic, labelPartition)
)

func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{assignedDesc, joinedDesc, problemsDesc, queuedDesc, lastPollDesc, lastComDesc,
		watermarkDesc, committedDesc, lagDesc, flightDesc, oldestDesc} {
		ch <- d
	}
}

func (k collector) Collect(ch chan<- prometheus.Metric) {
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
	gauge(lastComDesc, commit)
	for _, p := range s.Partitions {
		labels := []string{p.Topic, strconv.Itoa(int(p.Partition))}
		gauge(watermarkDesc, float64(p.Watermark), labels...)
		gauge(committedDesc, float64(p.Committed), labels...)
		gauge(lagDesc, float64(p.Lag), labels...)
		gauge(flightDesc, float64(p.InFlight), labels...)
		gauge(oldestDesc, p.Age.Seconds(), labels...)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/metriccheck"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// metricRecords is the maximum number of records that are compared with the metrics.
const metricRecords = 10_000

// checkMetrics compares the project's metrics with the newest records of all topics. It does
// nothing if another check in c has failed.
func (c *checks) checkMetrics(cfg *config.Config) {
	const subject = "metrics"
	switch {
	case c.failed:
		c.skip(subject, "another check failed")
		return
	case cfg.DeadLetters.Redrive:
		c.skip(subject, "the records are dead letters")
		return
	}
	client, err := cfg.API(app.Version())
	if err != nil {
		c.fail(subject, err, "")
		return
	}
	metrics, err := client.Metrics(context.Background(), cfg.LaunchDarkly.ProjectKey, false)
	if err != nil {
		c.fail(subject, err, apiAdvice(err))
		return
	}
	compared := metriccheck.New(metrics, cfg.Mapping())
	ctx, cancel := context.WithTimeout(context.Background(), previewTimeout)
	defer cancel()
	src := preview.Source{Topics: cfg.Kafka.Topics, Limit: metricRecords, Partition: -1, Offset: -1}
	s, err := readSummary(ctx, cfg, src, func(_ *kgo.Record, call transform.Explained) error {
		compared.Add(call)
		return nil
	})
	if err != nil {
		c.fail(subject, err, "Check the brokers and the permissions on the topics.")
		return
	}
	result := fmt.Sprintf("custom metrics in project %s: %d; events in the newest %s records: %s",
		cfg.LaunchDarkly.ProjectKey, len(metrics), preview.Number(s.Records), preview.Number(s.Events()))
	switch {
	case len(metrics) == 0:
		c.warn(subject, result+". LaunchDarkly counts no events without a metric.")
		return
	case s.Records == 0:
		c.skip(subject, result)
		return
	}
	c.pass(subject, result)
	for _, r := range compared.Results() {
		subject := fmt.Sprintf("metric %s (event %q)", preview.Printable(r.Metric.Key), r.Metric.EventKey)
		switch r.Level {
		case metriccheck.OK:
			c.pass(subject, r.Text)
		case metriccheck.Skipped:
			c.skip(subject, r.Text)
		case metriccheck.Warning:
			c.warn(subject, r.Text)
		case metriccheck.Failure:
			c.fail(subject, errors.New(r.Text), "")
		}
	}
}

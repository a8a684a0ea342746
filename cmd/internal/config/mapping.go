package config

import "github.com/segment-to-launchdarkly/forwarder/transform"

// auto is the list value that lets the program choose. In the file, it can also be a plain word.
var auto = []string{transform.UnwrapAuto}

// Mapping returns the configuration for package transform. An event can be as large as a request
// body, minus the brackets of the JSON array.
func (c *Config) Mapping() transform.Config {
	return transform.Config{
		Unwrap:            c.Segment.Unwrap,
		Schema:            c.LaunchDarkly.EventSchema,
		Contexts:          c.LaunchDarkly.Contexts,
		MetricValue:       c.LaunchDarkly.MetricValue,
		IntegrationNames:  c.Segment.IntegrationNames,
		HonorIntegrations: c.Segment.HonorIntegrations,
		MaxEventBytes:     int(c.Batch.MaxBytes) - len("[]"),
	}
}

package config

import "github.com/segment-to-launchdarkly/forwarder/transform"

// Mapping returns what is made of a call. An event may be as long as fits into a body alone, in its brackets.
func (c *Config) Mapping() transform.Config {
	return transform.Config{
		Schema:            c.LaunchDarkly.EventSchema,
		Contexts:          c.LaunchDarkly.Contexts,
		MetricValue:       c.LaunchDarkly.MetricValue,
		IntegrationNames:  c.Segment.IntegrationNames,
		HonorIntegrations: c.Segment.HonorIntegrations,
		MaxEventBytes:     int(c.Batch.MaxBytes) - len("[]"),
	}
}

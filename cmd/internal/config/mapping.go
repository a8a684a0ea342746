package config

import (
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// auto is the list value that lets the program choose. In the file, it can also be a plain word.
var auto = []string{transform.UnwrapAuto}

// Mapping returns the configuration for package transform. An event can be as large as a request
// body, minus the brackets of the JSON array.
func (c *Config) Mapping() transform.Config {
	s, ld := c.Segment, c.LaunchDarkly
	notBefore, _ := time.Parse(time.RFC3339, s.NotBefore)
	var conditions []transform.Condition
	for _, condition := range s.Only {
		conditions = append(conditions, transform.Condition(condition))
	}
	return transform.Config{
		Unwrap:            s.Unwrap,
		Schema:            ld.EventSchema,
		Contexts:          ld.Contexts,
		MetricValue:       ld.MetricValue,
		IntegrationNames:  s.IntegrationNames,
		HonorIntegrations: s.HonorIntegrations,
		Filter: transform.Filter{
			Consent: transform.Consent{
				Categories: s.Consent.Categories, Any: s.Consent.Match == "any", SendMissing: s.Consent.Missing == "send",
			},
			Conditions:   conditions,
			OnlyEvents:   slices.Concat(s.Events.Only, c.events.names),
			ExceptEvents: s.Events.Except,
			Require:      s.Require,
			MaxAge:       s.MaxAge,
			NotBefore:    notBefore,
		},
		Data:          transform.Data{Only: ld.Data.Only, Except: ld.Data.Except, ScalarsOnly: ld.Data.ScalarsOnly},
		MaxEventBytes: int(c.Batch.MaxBytes) - len("[]"),
	}
}

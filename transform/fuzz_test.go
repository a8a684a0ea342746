package transform

import (
	"bytes"
	"encoding/json"
	"testing"
)

// configs are the mappings that the comparisons with the reference run under.
var configs = []Config{
	{
		Schema:            3,
		MetricValue:       []string{"properties.value"},
		IntegrationNames:  []string{"LaunchDarkly Events"},
		HonorIntegrations: true,
	},
	{
		Schema: 4,
		Contexts: map[string][]string{
			"user":                {"userId", "anonymousId"},
			"unauthenticatedUser": {"anonymousId"},
			"device":              {"context.device.id", "context.device"},
			"org":                 {"context.groupId", "properties.org.id"},
		},
		MetricValue:       []string{"properties.revenue", "properties.value", "properties.a.b.c", "context.n", "n"},
		IntegrationNames:  []string{"LaunchDarkly Events", "LaunchDarkly Extra", "LaunchDarkly EVents", "Kafka", "é"},
		HonorIntegrations: true,
		MaxEventBytes:     250,
	},
	{Schema: 4, Contexts: map[string][]string{"user": {"properties"}}},
}

// requireSame maps a record with every config, and fails unless Append does what the reference does.
func requireSame(t testing.TB, value []byte, timestamp int64) {
	t.Helper()
	for _, cfg := range configs {
		m, err := Compile(cfg)
		must(err)
		wantEvents, wantCalls := (&reference{cfg: cfg}).append(value, timestamp)
		before := bytes.Clone(value)
		events, calls := m.NewTransformer().Append(nil, nil, value, timestamp)
		if !bytes.Equal(before, value) {
			t.Fatalf("value was changed: %q, now %q", before, value)
		}
		if len(calls) != len(wantCalls) {
			t.Fatalf("schema %d, %q: %v, reference: %v", cfg.Schema, value, calls, wantCalls)
		}
		for i, call := range calls {
			if call.Reason != wantCalls[i].Reason || call.End != wantCalls[i].End {
				t.Errorf("schema %d, %q, call %d: %v, reference: %v", cfg.Schema, value, i, call, wantCalls[i])
			}
			if (call.Reason.Outcome() == Rejected) != (call.Detail != "") {
				t.Errorf("%q: reason %v with detail %q", value, call.Reason, call.Detail)
			}
		}
		if !bytes.Equal(events, wantEvents) {
			t.Fatalf("schema %d, %q: events\n%s, reference:\n%s", cfg.Schema, value, events, wantEvents)
		}
		if array := "[" + string(bytes.TrimSuffix(events, []byte(","))) + "]"; !json.Valid([]byte(array)) {
			t.Fatalf("%q: invalid output %q", value, array)
		}
	}
}

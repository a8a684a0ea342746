package transform

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestCompileReportsEveryProblem(t *testing.T) {
	contexts := func(kind string, paths ...string) Config {
		return Config{Schema: 4, Contexts: map[string][]string{kind: paths}}
	}
	const kind = "contexts: each kind must contain only letters, digits, '.', '_', and '-', " +
		"and must be neither 'kind' nor 'multi', got "
	const path = ": must be a dotted path, got "
	const subject = ": must have exactly one of field, header, and topic"
	const list = ": must have either in or not_in, with at least one value"
	condition := func(conditions ...Condition) Config {
		return Config{Schema: 3, Filter: Filter{Conditions: conditions}}
	}
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "event_schema: must be 3 or 4, got 0"},
		{Config{Schema: 5}, "event_schema: must be 3 or 4, got 5"},
		{Config{Schema: 4}, "contexts: must have at least one kind for event_schema 4"},
		{contexts("", "userId"), kind + `""`},
		{contexts("kind", "userId"), kind + `"kind"`},
		{contexts("multi", "userId"), kind + `"multi"`},
		{contexts("my kind", "userId"), kind + `"my kind"`},
		{contexts("küche", "userId"), kind + `"küche"`},
		{contexts("user"), `contexts: "user": must have at least one field`},
		{contexts("user", "context..id"), `contexts: "user"` + path + `"context..id"`},
		{contexts("user", "userId", ""), `contexts: "user"` + path + `""`},
		{Config{Schema: 3, MetricValue: []string{".value"}}, "metric_value" + path + `".value"`},
		{Config{Schema: 3, MaxEventBytes: -1}, "max_event_bytes: must be at least 0, got -1"},
		{
			Config{Schema: 3, HonorIntegrations: true, IntegrationNames: []string{"aLL"}},
			`integration_names: must not contain All, got "aLL"`,
		},
		{Config{Schema: 3, Filter: Filter{MaxAge: -1}}, "max_age: must be at least 0s, got -1ns"},
		{Config{Schema: 3, Filter: Filter{Require: []string{"a..b"}}}, "require" + path + `"a..b"`},
		{condition(Condition{Topic: "t"}, Condition{In: []string{"x"}}), "only: condition 2" + subject},
		{condition(Condition{Topic: "t", Header: "h", In: []string{"x"}}), "only: condition 1" + subject},
		{condition(Condition{Topic: "t", NotIn: []string{"x"}}),
			"only: condition 1: must not have in or not_in, because it has topic"},
		{condition(Condition{Field: "a"}), "only: condition 1" + list},
		{condition(Condition{Header: "a", In: []string{"x"}, NotIn: []string{"y"}}), "only: condition 1" + list},
		{condition(Condition{Field: "a.", In: []string{"x"}}), "only: condition 1" + path + `"a."`},
		{
			Config{Schema: 2, MetricValue: []string{"a.", "b"}, MaxEventBytes: -7},
			"metric_value" + path + "\"a.\"\nevent_schema: must be 3 or 4, got 2\nmax_event_bytes: must be at least 0, got -7",
		},
	} {
		if m, err := Compile(test.cfg); m != nil || err == nil || err.Error() != test.want {
			t.Errorf("%+v: %v, want %s", test.cfg, err, test.want)
		}
	}
}

func TestCompileAcceptsValidConfigs(t *testing.T) {
	for _, cfg := range []Config{
		{Schema: 3},
		{Schema: 3, Contexts: map[string][]string{"not a kind": nil}}, // ignored with schema 3
		{Schema: 3, IntegrationNames: []string{"all"}},                // ignored without HonorIntegrations
		{Schema: 4, Contexts: map[string][]string{"Az0._-": {"a.b.c"}, "Kind": {"x"}, "user": {"userId"}}},
	} {
		if _, err := Compile(cfg); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestFakeLaunchDarklyCountsEveryEvent sends all rendered events. The module compare checks the
// fake's rules for contexts with LaunchDarkly's own code.
func TestFakeLaunchDarklyCountsEveryEvent(t *testing.T) {
	ld := ldtest.New(ldtest.Config{})
	for i, m := range mappings {
		transformer := m.NewTransformer()
		for _, record := range everything() {
			events, _ := transformer.Append(nil, nil, recordAt(record, recordTimestamp))
			if len(events) == 0 {
				continue
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
				"/events/bulk/"+ldtest.Sample.ClientSideID, strings.NewReader("["+string(events[:len(events)-1])+"]"))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-LaunchDarkly-Event-Schema", strconv.Itoa(configs[i].Schema))
			r.Header.Set("X-LaunchDarkly-Payload-ID", uuid.NewString())
			w := httptest.NewRecorder()
			ld.ServeHTTP(w, r)
			if w.Code != http.StatusAccepted {
				t.Errorf("%s: status %d", events, w.Code)
			}
		}
	}
	report := ld.Report()
	if report.Processed < 300 || report.Dropped != 0 || report.ViolationCount != 0 {
		t.Errorf("%+v", report)
	}
}

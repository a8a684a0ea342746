package transform

import (
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
)

func TestCompileNamesEverythingThatIsWrong(t *testing.T) {
	contexts := func(kind string, paths ...string) Config {
		return Config{Schema: 4, Contexts: map[string][]string{kind: paths}}
	}
	kindRule := `: a kind is letters, digits, ".", "_" and "-", and neither "kind" nor "multi"`
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "event_schema: 0: 3 or 4"},
		{Config{Schema: 5}, "event_schema: 5: 3 or 4"},
		{Config{Schema: 4}, "contexts: none: at least one kind with schema 4"},
		{contexts("", "userId"), `contexts: ""` + kindRule},
		{contexts("kind", "userId"), `contexts: "kind"` + kindRule},
		{contexts("multi", "userId"), `contexts: "multi"` + kindRule},
		{contexts("my kind", "userId"), `contexts: "my kind"` + kindRule},
		{contexts("küche", "userId"), `contexts: "küche"` + kindRule},
		{contexts("user"), `contexts: "user": at least one path`},
		{contexts("user", "context..id"), `contexts: user: "context..id": names separated by single dots`},
		{contexts("user", "userId", ""), `contexts: user: "": names separated by single dots`},
		{Config{Schema: 3, MetricValue: []string{".value"}}, `metric_value: ".value": names separated by single dots`},
		{Config{Schema: 3, MaxEventBytes: -1}, "max_event_bytes: -1: at least 0"},
		{Config{Schema: 3, HonorIntegrations: true, IntegrationNames: []string{"aLL"}}, `integration_names: "aLL": All stands for every integration`},
		{
			Config{Schema: 2, MetricValue: []string{"a.", "b"}, MaxEventBytes: -7},
			"metric_value: \"a.\": names separated by single dots\nevent_schema: 2: 3 or 4\nmax_event_bytes: -7: at least 0",
		},
	} {
		if m, err := Compile(test.cfg); m != nil || err == nil || err.Error() != test.want {
			t.Errorf("%+v: %v, want %s", test.cfg, err, test.want)
		}
	}
}

func TestCompileAccepts(t *testing.T) {
	for _, cfg := range []Config{
		{Schema: 3},
		{Schema: 3, Contexts: map[string][]string{"not a kind": nil}}, // not looked at
		{Schema: 3, IntegrationNames: []string{"all"}},                // not honored
		{Schema: 4, Contexts: map[string][]string{"Az0._-": {"a.b.c"}, "Kind": {"x"}, "user": {"userId"}}},
	} {
		if _, err := Compile(cfg); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestLaunchDarklyAcceptsEveryKindAndKey asks LaunchDarkly's own rules about each context that is emitted.
func TestLaunchDarklyAcceptsEveryKindAndKey(t *testing.T) {
	seen := 0
	for i, m := range mappings {
		transformer := m.NewTransformer()
		for _, record := range everything() {
			events, calls := transformer.Append(nil, nil, record, recordTimestamp)
			start := 0
			for _, call := range calls {
				if call.Reason != None {
					continue
				}
				event := object(events[start : call.End-1])
				start = call.End
				keys := map[string]string{"user": ""}
				if configs[i].Schema == 3 {
					keys["user"] = text(event["userKey"])
				} else {
					keys = map[string]string{}
					for kind, key := range object(event["contextKeys"]) {
						keys[kind] = text(key)
					}
				}
				if len(keys) == 0 {
					t.Errorf("%s: no context", events)
				}
				for kind, key := range keys {
					seen++
					if err := ldcontext.NewWithKind(ldcontext.Kind(kind), key).Err(); err != nil {
						t.Errorf("kind %q, key %q: %v", kind, key, err)
					}
				}
			}
		}
	}
	if seen < 300 {
		t.Errorf("only %d contexts", seen)
	}
}

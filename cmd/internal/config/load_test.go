package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// required holds the variables that every configuration needs.
var required = []string{
	"S2LD_KAFKA_BROKERS=k:9092", "S2LD_KAFKA_TOPICS=segment", "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc",
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvironmentOverridesFileAndFileOverridesDefault(t *testing.T) {
	path := writeFile(t, "c.yaml", "batch:\n  max_events: 7\n  max_age: 2s\n")
	c, err := Load(path, append(required, "S2LD_BATCH_MAX_AGE=3s", "HOME=/", "PATH=/bin"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"batch.max_bytes":  "1MiB from default",
		"batch.max_events": "7 from " + path + ":2",
		"batch.max_age":    "3s from S2LD_BATCH_MAX_AGE",
	} {
		for _, f := range fields(c) {
			if got := text(f.v) + " from " + c.Origin(key); f.path == key && got != want {
				t.Errorf("%s: %s, want %s", key, got, want)
			}
		}
	}
	if c.Batch.MaxBytes != 1<<20 || c.Batch.MaxEvents != 7 || c.Batch.MaxAge != 3*time.Second {
		t.Errorf("%+v", c.Batch)
	}
}

func TestVariableOverridesInvalidValueInFile(t *testing.T) {
	path := writeFile(t, "c.yaml", "batch: {max_events: many}\n")
	c, err := Load(path, append(required, "S2LD_BATCH_MAX_EVENTS=5"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Batch.MaxEvents != 5 {
		t.Errorf("max_events %d, want 5", c.Batch.MaxEvents)
	}
}

func TestEmptyFileAndEmptyKeysKeepTheDefaults(t *testing.T) {
	want, err := Load("", required)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{
		"", "# nothing\n", "---\n", "kafka:\nbatch:\n  max_events:\n",
		"kafka: &none\nbatch: *none\nlog: {level: *none}\n", "\ufefflog: {}\n",
	} {
		got, err := Load(writeFile(t, "c.yaml", content), required)
		if err != nil {
			t.Errorf("%q: %v", content, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", content, got, want)
		}
	}
}

func TestEveryKeyCanBeSetByFileAndByVariable(t *testing.T) {
	for _, f := range fields(defaults()) {
		if f.section {
			continue
		}
		value := other(t, f)
		for from, l := range map[string]*loader{
			"environment": setBy(func(l *loader) { l.loadEnviron([]string{f.env() + "=" + value}) }),
			"file": setBy(func(l *loader) {
				scratch := reflect.New(f.v.Type()).Elem()
				if err := setText(scratch, value); err != nil {
					t.Fatalf("%s: %v", f.path, err)
				}
				content := ""
				for i, part := range strings.Split(f.path, ".") {
					content += "\n" + strings.Repeat(" ", i) + part + ": "
				}
				if err := l.loadFile(writeFile(t, "c.yaml", content+inline(scratch))); err != nil {
					t.Fatalf("%s: %v", f.path, err)
				}
			}),
		} {
			if len(l.problems) > 0 {
				t.Errorf("%s from the %s: %v", f.path, from, l.problems)
			}
			for _, g := range l.keys {
				if g.section {
					continue
				}
				want := text(fieldOf(defaults(), g.path).v)
				if g.path == f.path {
					want = value
				}
				if got := text(g.v); got != want {
					t.Errorf("%s=%s from the %s: %s is %q, want %q", f.path, value, from, g.path, got, want)
				}
			}
		}
	}
}

// setBy returns a loader with the defaults, after applying set.
func setBy(set func(*loader)) *loader {
	l := newLoader()
	set(l)
	return l
}

func fieldOf(c *Config, path string) field {
	for _, f := range fields(c) {
		if f.path == path {
			return f
		}
	}
	panic(path)
}

// other returns a value for f that differs from its default, in the format of text.
func other(t *testing.T, f field) string {
	switch f.v.Interface().(type) {
	case string:
		return "Some: thing #1"
	case bool:
		return map[string]string{"true": "false", "false": "true"}[text(f.v)]
	case int:
		return "17"
	case Bytes:
		return "3kB"
	case time.Duration:
		return "1h5m"
	case []string:
		return "a b,c"
	case []Condition:
		return `[{"field":"a b","in":["c,d","7"]},{"topic":"t"},{"header":"h","not_in":["x"]}]`
	case map[string][]string:
		return "account=groupId;device=context.device.id,anonymousId"
	case map[string]string:
		return "a=b c=d;e="
	case map[string]Secret:
		return "a=" + redacted + ";b=" + redacted // as written to a file
	}
	t.Fatalf("%s: no other value for %s", f.path, f.v.Type())
	return ""
}

func TestVariablesHoldListsAndContextsAsTextOrJSON(t *testing.T) {
	for _, env := range [][]string{
		{"S2LD_LAUNCHDARKLY_CONTEXTS=user=userId, anonymousId; account=groupId;", "S2LD_SEGMENT_INTEGRATION_NAMES=A, B"},
		{
			`S2LD_LAUNCHDARKLY_CONTEXTS={"user":["userId","anonymousId"],"account":"groupId"}`,
			`S2LD_SEGMENT_INTEGRATION_NAMES=["A","B"]`,
		},
	} {
		c, err := Load("", append(env, required...))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{"user": {"userId", "anonymousId"}, "account": {"groupId"}}
		if !reflect.DeepEqual(c.LaunchDarkly.Contexts, want) {
			t.Errorf("%s: %v", env[0], c.LaunchDarkly.Contexts)
		}
		if !reflect.DeepEqual(c.Segment.IntegrationNames, []string{"A", "B"}) {
			t.Errorf("%s: %q", env[1], c.Segment.IntegrationNames)
		}
	}
}

func TestStringsKeepTheirSourceText(t *testing.T) {
	path := writeFile(t, "c.yaml", "kafka:\n  rack: 0x1F\n  sasl: {mechanism: plain, username: 007, password: 1e3}\n")
	c, err := Load(path, required)
	if err != nil {
		t.Fatal(err)
	}
	sasl := c.Kafka.SASL
	got := []string{c.Kafka.Rack, sasl.Mechanism, sasl.Username, sasl.Password.Value}
	if want := []string{"0x1F", "PLAIN", "007", "1e3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDryRunRequiresNoKeysAndOfflineReadsNoFiles(t *testing.T) {
	if _, err := LoadFor(DryRun, "", nil); err != nil {
		t.Errorf("dry run: %v", err)
	}
	elsewhere := append(slices.Clone(required),
		"S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE=/nowhere/ca.pem",
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=u",
		"S2LD_KAFKA_SASL_PASSWORD_FILE=/nowhere/password")
	if _, err := LoadFor(Offline, "", elsewhere); err != nil {
		t.Errorf("offline: %v", err)
	}
	if _, err := Load("", elsewhere); err == nil || strings.Count(err.Error(), "cannot read") != 2 {
		t.Errorf("service: %v, want two unreadable files", err)
	}
	if _, err := LoadFor(Offline, "", nil); err == nil {
		t.Error("offline: no error without the required keys")
	}
}

func TestMappingCopiesEveryKey(t *testing.T) {
	c, err := LoadFor(DryRun, "", []string{
		"S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4", "S2LD_LAUNCHDARKLY_CONTEXTS=account=groupId",
		"S2LD_LAUNCHDARKLY_METRIC_VALUE=a.b,c", "S2LD_SEGMENT_INTEGRATION_NAMES=A,B",
		"S2LD_SEGMENT_HONOR_INTEGRATIONS=false", "S2LD_BATCH_MAX_BYTES=2KiB", "S2LD_SEGMENT_UNWRAP=payload.after,data",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := transform.Config{
		Unwrap: []string{"payload.after", "data"},
		Schema: 4, Contexts: map[string][]string{"account": {"groupId"}}, MetricValue: []string{"a.b", "c"},
		IntegrationNames: []string{"A", "B"}, HonorIntegrations: false,
		MaxEventBytes: 2046, // 2 KiB minus the brackets of the JSON array
	}
	if got := c.Mapping(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestStartTime(t *testing.T) {
	if got := (Kafka{StartAt: "latest"}).StartTime(); !got.IsZero() {
		t.Errorf("latest: %v", got)
	}
	want := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	if got := (Kafka{StartAt: "2026-01-31T01:00:00+01:00"}).StartTime(); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("kafka: {brokers: [a:1], tls: *x}\nlog: &x {level: debug}", "user=userId")
	f.Add("&a {kafka: *a, launchdarkly: {contexts: {<<: *a}}}", "{a: &b [*b]}")
	f.Add("launchdarkly: {event_schema: 4, contexts: {user: [a.b, c]}, metric_value: [a]}\n"+
		"segment: {integration_names: [x, y]}", "user=a,b")
	f.Add("? [a]\n: b\n---\n", "[")
	f.Fuzz(func(t *testing.T, content, contexts string) {
		path := writeFile(t, "c.yaml", content)
		c, err := LoadFor(Offline, path, append(required, "S2LD_LAUNCHDARKLY_CONTEXTS="+contexts))
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", c, err)
		}
		if err != nil {
			return
		}
		if _, err := transform.Compile(c.Mapping()); err != nil {
			t.Fatalf("a valid configuration does not compile: %v", err)
		}
	})
}

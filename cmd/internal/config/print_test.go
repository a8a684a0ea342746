package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestExampleEqualsTheDefaults(t *testing.T) {
	var example strings.Builder
	if err := WriteExample(&example); err != nil {
		t.Fatal(err)
	}
	golden(t, "example.yaml", example.String())
	path := writeFile(t, "c.yaml", example.String())
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "launchdarkly.client_side_id") {
		t.Errorf("without a client-side ID: %v", err)
	}
	got, err := Load(path, []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc"})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Kafka.Brokers = []string{"localhost:9092"}
	want.Kafka.Topics = []string{"segment"}
	want.LaunchDarkly.ClientSideID = "abc"
	want.origins = got.origins
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestSchema(t *testing.T) {
	var schema strings.Builder
	if err := WriteSchema(&schema); err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", schema.String())
}

func TestEffectiveShowsOriginsAndLoadsAgain(t *testing.T) {
	path := writeFile(t, "c.yaml", "batch: {max_events: 7}\nlaunchdarkly: {contexts: {user: [userId]}}\n")
	c, err := Load(path, append(required, "S2LD_KAFKA_RACK=a #b"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := c.WriteEffective(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n  max_events: 7  # " + path + ":1\n",
		"\n  contexts: {user: [userId]}  # " + path + ":2\n",
		"\n  rack: 'a #b'  # S2LD_KAFKA_RACK\n",
		"\n  max_age: 5s  # default\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	again, err := Load(writeFile(t, "again.yaml", out.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	again.origins = c.origins
	if !reflect.DeepEqual(again, c) {
		t.Errorf("%+v\nwant %+v", again, c)
	}
}

func TestHelpMatchesKeysAndEnumerations(t *testing.T) {
	paths := map[string]bool{}
	for _, f := range fields(defaults()) {
		paths[f.path] = true
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s: help %q does not end with a period", f.path, f.help)
		}
		for _, value := range f.enum {
			if !strings.Contains(f.help, value) {
				t.Errorf("%s: help does not name the value %s", f.path, value)
			}
		}
	}
	for path := range help {
		if !paths[path] {
			t.Errorf("%s: help for an unknown key", path)
		}
	}
}

func TestSizesAndDurationsRoundTrip(t *testing.T) {
	for _, s := range []string{"0", "1", "999", "1kB", "1KiB", "1500kB", "3MB", "1MiB", "64MiB", "1GB", "2GiB"} {
		b, err := parseBytes(s)
		if err != nil || b.String() != s {
			t.Errorf("%s: %s, %v", s, b, err)
		}
	}
	for s, want := range map[string]Bytes{"1 mib": 1 << 20, "5B": 5, "1000000": 1e6, "1000 kB": 1e6} {
		if b, err := parseBytes(s); err != nil || b != want {
			t.Errorf("%s: %d, %v, want %d", s, b, err, want)
		}
	}
	for _, s := range []string{"", "B", "1.5MiB", "-1", "1Mi", "1TB", "1MiB1", "1 M B", "0x10"} {
		if b, err := parseBytes(s); err == nil {
			t.Errorf("%s: %d, want an error", s, b)
		}
	}
	for _, s := range []string{"0s", "500ms", "10s", "1m", "1m30s", "1h", "1h5m", "1h0m5s"} {
		d, err := time.ParseDuration(s)
		if err != nil || durationText(d) != s {
			t.Errorf("%s: %s, %v", s, durationText(d), err)
		}
	}
}

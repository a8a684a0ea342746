package transform

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files under testdata")

// recordTimestamp is the timestamp of the record in tests that do not depend on it:
// 2020-09-13T12:26:40Z.
const recordTimestamp = 1_600_000_000_000

var (
	schema3 = Config{
		Unwrap:            []string{UnwrapAuto},
		Schema:            3,
		MetricValue:       []string{"properties.value"},
		IntegrationNames:  []string{"LaunchDarkly Events"},
		HonorIntegrations: true,
	}
	schema4 = Config{
		Schema: 4,
		Contexts: map[string][]string{
			"user":                {"userId", "anonymousId"},
			"unauthenticatedUser": {"anonymousId"},
			"device":              {"context.device.id", "context.ip"},
		},
		MetricValue:       []string{"properties.revenue", "properties.value"},
		IntegrationNames:  []string{"LaunchDarkly Events", "Kafka"},
		HonorIntegrations: true,
		MaxEventBytes:     300,
	}
	ignoring = Config{Schema: 3}
	paths    = Config{
		Unwrap:      []string{"$.payload.after", "data_base64", "a.body", "data", "string"},
		Schema:      3,
		MetricValue: []string{"$.properties.value"},
	}
	filtered = Config{ // every filter
		Schema:            3,
		MetricValue:       []string{"properties.value"},
		HonorIntegrations: true,
		Filter: Filter{
			Consent: Consent{Categories: []string{"ads", "a\"ü"}},
			Conditions: []Condition{
				{Field: "projectId", In: []string{"p1", "7", "true"}},
				{Field: "context.app.name", NotIn: []string{"staging", "\ufffd"}},
				{Header: "source", In: []string{"web", "ios"}},
				{Header: "absent", NotIn: []string{"x"}},
				{Topic: "segment"},
			},
			OnlyEvents:   []string{"A", "B", "7", "ü\n"},
			ExceptEvents: []string{"B"},
			Require:      []string{"userId", "context.traits.plan"},
			MaxAge:       time.Hour,
			NotBefore:    time.UnixMilli(recordTimestamp).Add(-30 * time.Minute),
		},
		Data: Data{Only: []string{"value", "list", "a\"ü", ""}, Except: []string{"list"}},
	}
	loose = Config{
		Schema:      3,
		MetricValue: []string{"properties.value"},
		Filter: Filter{
			Consent:      Consent{Categories: []string{"ads", "a\"ü"}, Any: true, SendMissing: true},
			Conditions:   []Condition{{Field: "integrations.all", NotIn: []string{"false"}}},
			ExceptEvents: []string{"B"},
			MaxAge:       time.Hour,
		},
		Data: Data{Except: []string{"list"}, ScalarsOnly: true},
	}
)

// recordAt returns a record with a topic and a header.
func recordAt(value []byte, timestamp int64) Record {
	return Record{
		Value: value, Timestamp: timestamp, Topic: "segment",
		Header: func(name string) ([]byte, bool) { return webHeader, name == "source" },
	}
}

var webHeader = []byte("web")

// TestCallsMapAsInTheGoldenFiles maps each line of a file in testdata and compares the results with
// a golden file. The messageId of a line describes its purpose.
func TestCallsMapAsInTheGoldenFiles(t *testing.T) {
	for _, test := range []struct {
		records, golden string
		cfg             Config
	}{
		{"segment-example", "segment-example", schema3},
		{"mapping", "mapping.schema3", schema3},
		{"mapping", "mapping.schema4", schema4},
		{"timestamps", "timestamps", schema3},
		{"integrations", "integrations", schema3},
		{"integrations", "integrations.two-names", schema4},
		{"integrations", "integrations.ignored", ignoring},
		{"envelopes", "envelopes.auto", schema3},
		{"envelopes", "envelopes.none", schema4},
		{"envelopes", "envelopes.paths", paths},
		{"records", "records.schema3", schema3},
		{"records", "records.schema4", schema4},
		{"filters", "filters", filtered},
		{"filters", "filters.loose", loose},
	} {
		t.Run(test.golden, func(t *testing.T) {
			var got bytes.Buffer
			transformer := newTransformer(test.cfg)
			for i, record := range lines("testdata", test.records+".ndjson") {
				requireSame(t, record, recordTimestamp)
				events, calls := transformer.Append(nil, nil, recordAt(record, recordTimestamp))
				start := 0
				for _, call := range calls {
					fmt.Fprintf(&got, "%d %v", i+1, call.Reason.Outcome())
					if call.Reason == None {
						fmt.Fprintf(&got, " %s\n", events[start:call.End-1])
						start = call.End
					} else {
						fmt.Fprintf(&got, " %v %s\n", call.Reason, call.Detail)
					}
				}
			}
			file := filepath.Join("testdata", test.golden+".golden")
			if *update {
				must(os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			must(err)
			if !bytes.Equal(got.Bytes(), want) {
				gotLines, wantLines := bytes.Split(got.Bytes(), []byte("\n")), bytes.Split(want, []byte("\n"))
				for i := range min(len(gotLines), len(wantLines)) {
					if !bytes.Equal(gotLines[i], wantLines[i]) {
						t.Errorf("line %d:\n%s\nwant:\n%s", i+1, gotLines[i], wantLines[i])
					}
				}
				t.Errorf("got %d lines, want %d", len(gotLines), len(wantLines))
			}
		})
	}
}

func newTransformer(cfg Config) *Transformer {
	m, err := Compile(cfg)
	must(err)
	return m.NewTransformer()
}

func lines(path ...string) [][]byte {
	content, err := os.ReadFile(filepath.Join(path...))
	must(err)
	return bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
}

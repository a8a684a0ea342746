package transform

import (
	"bytes"
	"encoding/json"
	"testing"
)

// configs lists the mappings that the tests compare with the reference. The paths of the
// fourth overlap each other and the fixed fields, and its names are long or differ only near the end.
var configs = []Config{
	schema3,
	schema4,
	paths,
	{
		Unwrap: []string{"a", "batch", "context.b.c"},
		Schema: 4,
		Contexts: map[string][]string{
			"a.b_c-D": {"properties", "context.device", "context.device.id", "properties.a.b"},
			"user":    {"context", "batch", "event.a"},
		},
		MetricValue: []string{"properties.a.b.c", "properties.a.b", "integrations.n", "timestamp", "é.\ufffd", "n"},
		IntegrationNames: []string{
			"LaunchDarkly (Actions) One", "LaunchDarkly (Actions) Two", "LaunchDarkly (Bctions) Two", "é", "",
		},
		HonorIntegrations: true,
		MaxEventBytes:     120,
	},
	filtered,
	loose,
}

var mappings = func() (mappings []*Mapping) {
	for _, cfg := range configs {
		m, err := Compile(cfg)
		must(err)
		mappings = append(mappings, m)
	}
	return mappings
}()

// requireSame maps a record under each of configs and fails the test unless Append agrees with the
// reference.
func requireSame(t testing.TB, record []byte, timestamp int64) {
	t.Helper()
	for i := range mappings {
		want, wantCalls := (&reference{cfg: configs[i]}).append(recordAt(record, timestamp))
		requireMapped(t, i, record, timestamp, want, wantCalls)
	}
}

// requireMapped fails the test unless the record is mapped under configs[i] to the wanted events
// and calls.
func requireMapped(t testing.TB, i int, record []byte, timestamp int64, want []byte, wantCalls []Call) {
	t.Helper()
	before := bytes.Clone(record)
	got, calls := mappings[i].NewTransformer().Append(nil, nil, recordAt(record, timestamp))
	if !bytes.Equal(before, record) {
		t.Fatalf("Append changed the record from %q to %q", before, record)
	}
	if len(calls) != len(wantCalls) {
		t.Fatalf("config %d, %.300q: %v, want %v", i, record, calls, wantCalls)
	}
	for j, call := range calls {
		want := wantCalls[j]
		want.Detail = call.Detail
		if call != want {
			t.Fatalf("config %d, %.300q, call %d: %v, want %v", i, record, j, call, wantCalls[j])
		}
		if (call.Reason.Outcome() == Rejected) != (call.Detail != "") {
			t.Fatalf("config %d, %.300q, call %d: %v with detail %q", i, record, j, call.Reason, call.Detail)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("config %d, %.300q: events\n%.300q, want\n%.300q", i, record, got, want)
	}
	start := 0
	for _, call := range calls {
		if call.Reason == None {
			if event := got[start : call.End-1]; !json.Valid(event) || got[call.End-1] != ',' {
				t.Fatalf("config %d, %.300q: not an event and a comma: %.300q", i, record, got[start:call.End])
			}
			start = call.End
		}
	}
}

// FuzzAppend compares Append with the reference, and AppendOnly with Append.
func FuzzAppend(f *testing.F) {
	for _, file := range []string{"mapping", "timestamps", "integrations", "envelopes", "records", "filters"} {
		for _, line := range lines("testdata", file+".ndjson") {
			f.Add(line, int64(recordTimestamp))
		}
	}
	for _, record := range sample(3) {
		f.Add(record, int64(recordTimestamp))
	}
	for _, test := range malformed {
		if len(test.record) < 1000 { // long ones slow the fuzzer down
			f.Add([]byte(test.record), int64(recordTimestamp))
		}
	}
	f.Add([]byte(`{"type":"track","event":"E","userId":"u"}`), int64(0))
	f.Add([]byte("\x00\x00\x00\x00\x07"+`{"type":"track","event":"E","userId":"u"}`), int64(1))
	f.Add([]byte(`{"type":"track","event":"E","context":{"device":7},`+
		`"properties":{"a":{"b":"x"},"a":{"b":{"c":1e2}}},"é":{"\ud800":"5"}}`), int64(1))

	f.Fuzz(func(t *testing.T, record []byte, timestamp int64) {
		requireSame(t, record, timestamp)
		for _, m := range mappings {
			requireOnly(t, m, record, timestamp)
		}
	})
}

// requireOnly fails the test unless AppendOnly of each call returns what Append returned for that
// call.
func requireOnly(t testing.TB, m *Mapping, record []byte, timestamp int64) {
	t.Helper()
	transformer := m.NewTransformer()
	all, calls := transformer.Append(nil, nil, recordAt(record, timestamp))
	if len(calls) > 10 {
		return // keeps the fuzzer fast
	}
	start := 0
	for i, call := range calls {
		got, gotCalls := transformer.AppendOnly(nil, nil, recordAt(record, timestamp), i)
		if len(gotCalls) != 1 || gotCalls[0].Reason != call.Reason || gotCalls[0].Detail != call.Detail {
			t.Fatalf("%q, only call %d: %v, want %v", record, i, gotCalls, call)
		}
		if call.Reason == None {
			if !bytes.Equal(got, all[start:call.End]) || gotCalls[0].End != len(got) {
				t.Fatalf("%q, only call %d: event\n%s, want\n%s", record, i, got, all[start:call.End])
			}
			start = call.End
		} else if len(got) > 0 {
			t.Fatalf("%q, only call %d: %v with event %s", record, i, call.Reason, got)
		}
	}
}

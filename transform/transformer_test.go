package transform

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
)

func ExampleTransformer_Append() {
	mapping, err := Compile(Config{
		Schema:            3,
		MetricValue:       []string{"properties.value"},
		IntegrationNames:  []string{"LaunchDarkly Events"},
		HonorIntegrations: true,
	})
	if err != nil {
		panic(err)
	}
	transformer := mapping.NewTransformer()

	var events []byte
	var calls []Call
	for _, record := range []string{
		`{"type":"track","event":"Ordered","userId":"u-1","properties":{"value":9},"timestamp":"2020-06-19T17:39:30.692Z"}`,
		`[{"type":"page"},{"type":"track","event":"Signed Up","anonymousId":"a-1"},{"type":"track","userId":"u-1"}]`,
	} {
		events, calls = transformer.Append(events, calls, recordAt([]byte(record), 1600000000000))
	}

	start := 0
	for _, call := range calls {
		if call.Reason == None {
			fmt.Printf("%s\n", events[start:call.End-1])
			start = call.End
		} else {
			fmt.Println(call.Reason.Outcome(), call.Reason)
		}
	}
	// Output:
	// {"kind":"custom","key":"Ordered","userKey":"u-1","creationDate":1592588370692,"metricValue":9,"data":{"value":9}}
	// filtered not_track
	// {"kind":"custom","key":"Signed Up","userKey":"a-1","creationDate":1600000000000,"data":{}}
	// rejected no_event_name
}

func TestSegmentsDocumentedExampleIsMapped(t *testing.T) {
	const (
		call = `{"anonymousId":"23adfd82-aa0f-45a7-a756-24f2a7a4c8955","type":"track","properties":{"value":99.84},` +
			`"userId":"test-user-s6dndc","event":"Order Completed","timestamp":"2020-06-19T17:39:30.692Z"}`
		event = `{"kind":"custom","key":"Order Completed","userKey":"test-user-s6dndc",` +
			`"creationDate":1592588370692,"metricValue":99.84,"data":{"value":99.84}}`
	)
	got, calls := newTransformer(schema3).Append(nil, nil, recordAt([]byte(call), recordTimestamp))
	want := []Call{{End: len(event) + 1, HasMetricValue: true}}
	if string(got) != event+"," || !slices.Equal(calls, want) {
		t.Errorf("%s, %v", got, calls)
	}
}

func TestRecordTimestampMustBeAfter1970(t *testing.T) {
	for timestamp, want := range map[int64]Reason{
		math.MinInt64: NoTimestamp,
		-1:            NoTimestamp, // Kafka's "no timestamp"
		0:             NoTimestamp,
		1:             None,
		math.MaxInt64: None,
	} {
		requireSame(t, []byte(anEvent), timestamp)
		_, calls := newTransformer(schema3).Append(nil, nil, recordAt([]byte(anEvent), timestamp))
		if calls[0].Reason != want {
			t.Errorf("timestamp %d: %v", timestamp, calls)
		}
	}
}

func TestEventOfExactlyTheLimitIsAccepted(t *testing.T) {
	event, _ := newTransformer(schema3).Append(nil, nil, recordAt([]byte(anEvent), recordTimestamp))
	for limit, want := range map[int]Reason{0: None, len(event) - 2: TooLarge, len(event) - 1: None, len(event): None} {
		cfg := schema3
		cfg.MaxEventBytes = limit
		got, calls := newTransformer(cfg).Append([]byte("before,"), nil, recordAt([]byte(anEvent), recordTimestamp))
		if calls[0].Reason != want || calls[0].End != len(got) || (want == None) != (len(got) > len("before,")) {
			t.Errorf("limit %d: %s, %v", limit, got, calls)
		}
	}
}

// manyCalls is a record with several calls of each outcome. If call i is an event, its name is i.
const manyCalls = `[{"type":"track","event":"0","userId":"u"},{"type":"page"},{"type":"track","userId":"u"},null,` +
	`{"type":"track","event":"4","userId":"u"},{"type":"track","event":"5","userId":"u","integrations":{"All":false}},` +
	`{"type":"track","event":"6","userId":"u"}]`

func TestAppendOnlySkipsTheOtherCalls(t *testing.T) {
	transformer := newTransformer(schema3)
	_, all := transformer.Append(nil, nil, recordAt([]byte(manyCalls), recordTimestamp))
	for only, want := range all {
		events, calls := transformer.AppendOnly(nil, nil, recordAt([]byte(manyCalls), recordTimestamp), only)
		if len(calls) != 1 || calls[0].Reason != want.Reason {
			t.Errorf("only %d: %v, want %v", only, calls, want.Reason)
		}
		for _, i := range []int{0, 4, 6} {
			if bytes.Contains(events, fmt.Appendf(nil, `"key":"%d"`, i)) != (i == only) {
				t.Errorf("only %d: events %s", only, events)
			}
		}
	}
	batch := []byte(`{"batch":` + manyCalls + `}`)
	_, calls := transformer.AppendOnly(nil, nil, recordAt(batch, recordTimestamp), 4)
	if len(calls) != 1 || calls[0].Reason != None {
		t.Errorf("only call 4 of a batch: %v", calls)
	}
	if _, calls := transformer.AppendOnly(nil, nil, recordAt([]byte("{"), recordTimestamp), 3); len(calls) != 1 {
		t.Errorf("only call 3 of an invalid record: %v", calls)
	}
}

func TestAppendOnlyRejectsAnIndexWithoutACall(t *testing.T) {
	transformer := newTransformer(schema3)
	for _, record := range []string{
		anEvent, manyCalls, `{"batch":` + manyCalls + `}`, anEvent + " [] " + anEvent, "7", "[]",
		`{"specversion":"1","data":` + manyCalls + `}`, `{"specversion":"1","data":"` + strings.Repeat("{} ", 10) + `x"}`,
	} {
		events, calls := transformer.AppendOnly([]byte("["), []Call{{}}, recordAt([]byte(record), recordTimestamp), 7)
		if string(events) != "[" || len(calls) != 2 ||
			calls[1] != (Call{Reason: Malformed, Detail: "the record has no call with index 7", End: 1}) {
			t.Errorf("only call 7 of %s: %q, %v", record, events, calls)
		}
	}
}

// everything returns the records in testdata, the malformed records, and a sample.
func everything() (records [][]byte) {
	for _, file := range []string{"mapping", "timestamps", "integrations", "envelopes", "records", "filters"} {
		records = append(records, lines("testdata", file+".ndjson")...)
	}
	for _, test := range malformed {
		records = append(records, []byte(test.record))
	}
	return append(records, sample(50)...)
}

func TestMappingDoesNotDependOnEarlierRecords(t *testing.T) {
	records := everything()
	type result struct {
		events []byte
		calls  []Call
	}
	want := make([]result, len(records))
	for i, record := range records {
		want[i].events, want[i].calls = mappings[1].NewTransformer().Append(nil, nil, recordAt(record, recordTimestamp))
	}
	again, err := Compile(configs[1])
	must(err)
	var wg sync.WaitGroup
	for _, m := range []*Mapping{mappings[1], mappings[1], again} {
		wg.Go(func() {
			transformer := m.NewTransformer()
			for i := range records {
				for _, i := range []int{i, len(records) - 1 - i} {
					events, calls := transformer.Append(nil, nil, recordAt(records[i], recordTimestamp))
					if !bytes.Equal(events, want[i].events) || !slices.Equal(calls, want[i].calls) {
						t.Errorf("%.300q: %s, %v, want %s, %v",
							records[i], events, calls, want[i].events, want[i].calls)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestAppendRetainsNothingOfTheRecord(t *testing.T) {
	transformer := newTransformer(schema3)
	record := []byte(manyCalls)
	events, calls := transformer.Append(nil, nil, recordAt(record, recordTimestamp))
	before := fmt.Sprintf("%s %v", events, calls)
	clear(record)
	if after := fmt.Sprintf("%s %v", events, calls); after != before {
		t.Errorf("%s after clearing the record, want %s", after, before)
	}
}

func TestDetailsContainNoDataOfTheRecord(t *testing.T) {
	cfg := schema3
	cfg.MaxEventBytes = 100
	for _, record := range []string{
		`{"type":"track","event":{"hunter2":1},"userId":"hunter2"}`,
		`{"type":"track","event":"hunter2","userId":["hunter2"],"anonymousId":{"hunter2":"hunter2"}}`,
		`{"type":"track","event":"hunter2","userId":"hunter2","properties":"hunter2"}`,
		`{"type":"track","event":"hunter2","userId":"hunter2","properties":{"hunter2":"hunter2"}}`,
		`["hunter2"]`,
		`"hunter2"`,
		`{"hunter2":hunter2}`,
		`{"hunter2":"\hunter2"}`,
		`hunter2`,
	} {
		_, calls := newTransformer(cfg).Append(nil, nil, recordAt([]byte(record), recordTimestamp))
		if len(calls) != 1 || calls[0].Detail == "" || strings.Contains(calls[0].Detail, "hunter") {
			t.Errorf("%s: %+v", record, calls)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	records := append(sample(50), lines("testdata", "integrations.ndjson")...)
	records = append(records, lines("testdata", "timestamps.ndjson")...)
	records = append(records, nil, []byte("[]"), []byte(`{"batch":`+`[`+anEvent+`,`+anEvent+`]}`))
	records = append(records, lines("testdata", "filters.ndjson")...)
	for i, m := range []*Mapping{mappings[0], mappings[1], mappings[4], mappings[5]} {
		transformer := m.NewTransformer()
		dst, calls := make([]byte, 0, 1<<16), make([]Call, 0, 100)
		for _, record := range records {
			r := recordAt(record, recordTimestamp)
			transformer.Append(dst, calls, r) // the scratch space grows once
			if n := testing.AllocsPerRun(10, func() { transformer.Append(dst, calls, r) }); n > 0 {
				_, calls := transformer.Append(dst, calls, r)
				if calls[0].Reason != TooLarge { // formatting its detail allocates
					t.Errorf("config %d, %s: %v allocations", i, record, n)
				}
			}
		}
	}
}

func TestExplainAgreesWithAppend(t *testing.T) {
	transformer := newTransformer(schema3)
	for _, record := range append(everything(), []byte(`{"specversion":"1.0","data":"{} x"}`), []byte("{} x"), nil) {
		events, calls := transformer.Append(nil, nil, recordAt(record, recordTimestamp))
		explained := transformer.Explain(recordAt(record, recordTimestamp))
		if len(explained) != len(calls) {
			t.Fatalf("%s: %d calls, want %d", record, len(explained), len(calls))
		}
		var got []byte
		for i, e := range explained {
			if e.Call != calls[i] {
				t.Errorf("%s, call %d: %v, want %v", record, i, e.Call, calls[i])
			}
			if e.Event != nil {
				got = append(append(got, e.Event...), ',')
				if alone, _ := transformer.Append(nil, nil, recordAt(e.Source, recordTimestamp)); !bytes.Contains(alone, e.Event) &&
					!bytes.Contains(record, []byte(`"batch"`)) { // a call in a batch inherits fields
					t.Errorf("%s, call %d: source %s does not yield %s", record, i, e.Source, e.Event)
				}
			}
			if len(e.Source) > 0 != (e.Source != nil) || len(e.Source) > 0 && e.Source[0] != '{' {
				t.Errorf("%s, call %d: source %q", record, i, e.Source)
			}
		}
		if !bytes.Equal(got, events) {
			t.Errorf("%s: %s, want %s", record, got, events)
		}
	}
}

func TestEventNameIsThatOfTheRenderedEvent(t *testing.T) {
	transformer := newTransformer(schema3)
	for _, name := range []string{`"a"`, `"\"\\"`, `"\\\""`, `"ü\u00fc"`, `12`} {
		call := []byte(`{"type":"track","event":` + name + `,"userId":"u"}`)
		event, _ := transformer.Append(nil, nil, recordAt(call, recordTimestamp))
		want := name
		if name == "12" {
			want = `"12"`
		}
		if got := string(EventName(event)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, other := range []string{"", "{}", eventStart, eventStart + `"`, eventStart + `"\`} {
		if got := EventName([]byte(other)); got != nil {
			t.Errorf("%s: %s, want nil", other, got)
		}
	}
}

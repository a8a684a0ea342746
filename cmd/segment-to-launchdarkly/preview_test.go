package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const aCall = `{"type":"track","event":"Order Completed","userId":"user-77","timestamp":"2020-06-19T17:39:30.692Z",` +
	`"projectId":"project-1","properties":{"value":99.84,"coupon":"SECRET"}}`

// produce writes records to partition 0 of topic segment.
func (w *world) produce(t *testing.T, values ...string) *world {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, value := range values {
		r := &kgo.Record{Topic: "segment", Value: []byte(value)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// envelopes are records and the descriptions that preview prints for them if unwrap is empty.
var envelopes = []struct {
	record, want string
	auto         bool // unwrapped by default
}{
	{`{"version":"0","detail-type":"track","detail":` + aCall + `}`, unwrap("EventBridge", "detail"), true},
	{`{"specversion":"1.0","type":"t","data":` + aCall + `}`, unwrap("CloudEvents", "data"), true},
	{`{"specversion":"1.0","data_base64":"` + inBase64(aCall) + `"}`, "CloudEvents", true},
	{`{"schema":{"type":"struct"},"payload":` + aCall + `}`, unwrap("Kafka Connect", "payload"), true},
	{`{"body":` + quoted(aCall) + `,"isBase64Encoded":false}`, unwrap("API Gateway", "body"), true},
	{`{"ingestType":"browser","httpPayload":` + aCall + `}`, unwrap("Jitsu", "httpPayload"), true},
	{`{"schema":{},"payload":{"op":"c","after":` + aCall + `}}`, unwrap("Kafka Connect", "payload.after"), false},
	{debezium, unwrap("Debezium", "after"), false},
	{`{"@timestamp":"2020","message":` + quoted(aCall) + `}`, unwrap("a log shipper's output", "message"), false},
	{`{"Type":"track","Event":"E","UserId":"u"}`, "wrong letter case (Type instead of type)", false},
	{`{"level":"info","msg":"SECRET"}`, "a log line; has the top-level names level, msg", false},
}

const debezium = `{"op":"c","before":null,"after":` + aCall + `}`

func unwrap(format, path string) string {
	return format + "; contains Segment calls; set segment.unwrap: [" + path + "]"
}

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestPreviewNamesEveryEnvelope(t *testing.T) {
	for _, e := range envelopes {
		w := newWorld(t).set("S2LD_SEGMENT_UNWRAP=[]").produce(t, e.record)
		out, stderr, code := run(w.sys, "preview")
		if code != 0 || !strings.Contains(out, e.want) || strings.Contains(out, "SECRET") {
			t.Errorf("%s: exit %d, %s\n%s\nwant %s", e.record, code, stderr, out, e.want)
		}
		w.set("S2LD_SEGMENT_UNWRAP=auto")
		out, _, _ = run(w.sys, "preview", "--show", "0")
		if strings.Contains(out, "Order Completed") != e.auto {
			t.Errorf("auto: %s:\n%s", e.record, out)
		}
	}
}

func TestPreviewSummarizesWithoutValues(t *testing.T) {
	w := newWorld(t).produce(t, aCall, aCall,
		strings.Replace(aCall, "99.84", `"free"`, 1), `{"type":"page","anonymousId":"a-1"}`,
		`{"type":"track","event":"E","anonymousId":"a-2"}`, `{"type":"track","event":"E"}`, "{")
	const want = `Records     7 (median 48 B, p99 171 B)
Calls       7
                   4   57.1%  event
                   1   14.3%  filtered not_track
                   1   14.3%  rejected malformed
                   1   14.3%  rejected no_user_key
Events        number  value  name
                   3    67%  Order Completed
                   1     0%  E
`
	out, stderr, code := run(w.sys, "preview", "--show", "0")
	if code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("exit %d, %s\n%s\nwant\n%s", code, stderr, out, want)
	}
	for _, contained := range []string{
		"No value           1  events", "No time            1  events",
		"userId in 50%", "anonymousId in 33%", "projectId project-1",
		"Event time  2020-06-19T17:39:30Z to ",
	} {
		if !strings.Contains(out, contained) {
			t.Errorf("%q is not in\n%s", contained, out)
		}
	}
	asJSON, _, code := run(w.sys, "preview", "--json")
	var report struct {
		Records, Calls int
		Names          []struct{ Name string } `json:"event_names"`
	}
	err := json.Unmarshal([]byte(asJSON), &report)
	if err != nil || code != 0 || report.Calls != 7 || len(report.Names) != 2 {
		t.Errorf("exit %d, %v: %s", code, err, asJSON)
	}
	for _, text := range []string{out, asJSON} {
		for _, secret := range []string{"SECRET", "user-77", "a-1", "a-2", "99.84"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in\n%s", secret, text)
			}
		}
	}
	out, _, _ = run(w.sys, "preview", "--show", "9")
	for _, contained := range []string{"segment, partition 0, offset 0", `"coupon": "SECRET"`, "rejected, no_user_key: "} {
		if !strings.Contains(out, contained) {
			t.Errorf("%q is not in\n%s", contained, out)
		}
	}
}

func TestPreviewAppliesTheFilters(t *testing.T) {
	list := writeFile(t, "events", "E1\nE2\n")
	w := newWorld(t).produce(t,
		`{"type":"track","event":"E1","userId":"u","projectId":"p"}`, `{"type":"track","event":"E2","userId":"u"}`,
		`{"type":"track","event":"E3","userId":"u","projectId":"p"}`,
	)
	w.set("S2LD_SEGMENT_EVENTS_ONLY_FILE="+list,
		`S2LD_SEGMENT_ONLY=[{"field":"projectId","in":["p"]},{"topic":"segment"}]`)
	out, stderr, code := run(w.sys, "preview", "--json")
	var report struct {
		Outcomes []struct {
			Reason string
			Calls  int
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, stderr, out)
	}
	got := map[string]int{}
	for _, o := range report.Outcomes {
		got[o.Reason] = o.Calls
	}
	if want := map[string]int{"": 1, "not_selected": 1, "event": 1}; !maps.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	w.set("S2LD_SEGMENT_EVENTS_ONLY_FILE=/nowhere/events")
	const want = "segment.events.only_file: cannot read"
	if _, stderr, code := run(w.sys, "preview"); code != 2 || !strings.Contains(stderr, want) {
		t.Errorf("missing list: exit %d, %s", code, stderr)
	}
}

func TestPreviewMarksNamesThatHaveAMetric(t *testing.T) {
	w := newWorld(t).produce(t, aCall, `{"type":"track","event":"E","anonymousId":"a-2"}`)
	api := w.setMetrics(t, ldtest.Metric{Key: "orders", EventKey: "Order Completed"})
	const want = `
Events        number  value  metric  name
                   1     0%  no      E
                   1   100%  yes     Order Completed
`
	out, stderr, code := run(w.sys, "preview", "--show", "0")
	if code != 0 || stderr != "" || !strings.Contains(out, want) {
		t.Errorf("exit %d, %s\n%s\nwant\n%s", code, stderr, out, want)
	}
	const field = `"has_metric": true`
	out, stderr, code = run(w.sys, "preview", "--json")
	if code != 0 || stderr != "" || !strings.Contains(out, field) || !strings.Contains(out, `"has_metric": false`) {
		t.Errorf("exit %d, %s\n%s", code, stderr, out)
	}

	api.Script(ldtest.Fault{Status: 403}, ldtest.Fault{Status: 403})
	for args, names := range map[string]string{
		"preview --show 0": "number  value  name", "preview --json": `"name": "Order Completed"`,
	} {
		out, stderr, code = run(w.sys, strings.Fields(args)...)
		if code != 0 || !strings.Contains(stderr, "does not show which names have a metric: list metrics: ") ||
			!strings.Contains(out, names) || strings.Contains(out, field) {
			t.Errorf("%s: exit %d, %s\n%s", args, code, stderr, out)
		}
	}
}

func TestPreviewSelectsRecords(t *testing.T) {
	var values []string
	for i := range 20 { // as many names as are shown
		values = append(values, fmt.Sprintf(`{"type":"track","event":"E%d","userId":"u"}`, i))
	}
	w := newWorld(t).produce(t, values...)
	for _, test := range []struct {
		args        []string
		first, last string
		records     int
	}{
		{nil, "E0", "E19", 20},
		{[]string{"-n", "5"}, "E15", "E19", 5},
		{[]string{"--partition", "0", "--offset", "7", "-n", "2"}, "E7", "E8", 2},
		{[]string{"--from", "2020-01-01T00:00:00Z", "-n", "3"}, "E0", "E2", 3},
		{[]string{"--from", "2999-01-01T00:00:00Z"}, "", "", 0},
		{[]string{"--partition", "1"}, "", "", 0},
	} {
		out, stderr, code := run(w.sys, append([]string{"preview", "--show", "0"}, test.args...)...)
		ok := code == 0 && strings.HasPrefix(out, fmt.Sprintf("Records     %d ", test.records))
		for _, name := range []string{test.first, test.last} {
			ok = ok && (name == "" || strings.Contains(out, "  "+name+"\n"))
		}
		if !ok {
			t.Errorf("%v: exit %d, %s\n%s", test.args, code, stderr, out)
		}
	}
	for _, args := range [][]string{
		{"-n", "0"}, {"--offset", "1"}, {"--from", "yesterday"}, {"--show", "-1"},
		{"--partition", "0", "--offset", "1", "--from", "2020-01-01T00:00:00Z"},
	} {
		if out, _, code := run(w.sys, append([]string{"preview"}, args...)...); code != exitUsage || out != "" {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	if _, stderr, code := run(w.sys, "preview", "--topic", "segmnt"); code != exitFailure ||
		!strings.Contains(stderr, `topic segmnt does not exist; run "segment-to-launchdarkly check"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code := run(w.sys, "preview", "--partition", "7"); code != exitFailure ||
		!strings.Contains(stderr, "topic segment has no partition 7") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestPreviewAndCheckFailIfNoCallBecomesAnEvent(t *testing.T) {
	foreign := strings.Split(strings.Repeat(debezium+"\n", previewEnough), "\n")[:previewEnough]
	w := newWorld(t).produce(t, foreign...)
	out, stderr, code := run(w.sys, "preview")
	if code != exitFailure || !strings.Contains(stderr, "no event in 100 records") || !strings.Contains(out, "Debezium") {
		t.Errorf("exit %d, %s\n%s", code, stderr, out)
	}
	w.check(t, okConfig, okBroker,
		"FAIL  topic segment: exists (partitions: 3); none of 100 calls in the newest 100 records becomes an event. "+
			"The most frequent reason is not_a_call: "+transform.NotACall.Help()+". A typical record looks like Debezium; "+
			"contains Segment calls; set segment.unwrap: [after]; has the top-level names after, before, op. "+
			`Run "segment-to-launchdarkly preview" for details.`,
		okDead, okGroup+", records ahead: 100", okLD, skipID)
	w.produce(t, aCall).check(t, okConfig, okBroker,
		"warn  topic segment: exists (partitions: 3); only 1.0% of 101 calls in the newest 101 records become events. "+
			"The most frequent",
		okDead, okGroup+", records ahead: 101", okLD, skipID)
	w.sys.environ = slices.DeleteFunc(w.sys.environ, func(e string) bool { return strings.Contains(e, "EVENT_SCHEMA") })
	w.set("S2LD_SEGMENT_UNWRAP=after").check(t, okConfig,
		"ok    launchdarkly.event_schema: 3 by default", okBroker,
		okTopic+"; 100% of 101 calls in the newest 101 records become events", okDead, okGroup, okLD, skipID)
}

func TestCheckOnlyWarnsOfTopicsWithoutTrackCalls(t *testing.T) {
	w := newWorld(t).produce(t, `{"type":"identify","userId":"u"}`, `{"type":"page","userId":"u"}`)
	w.check(t, okConfig, okBroker,
		"warn  topic segment: exists (partitions: 3); none of 2 calls in the newest 2 records becomes an event. "+
			"The most frequent reason is not_track",
		okDead, okGroup, okLD, skipID)
	redrive := newWorld(t).produce(t, `{"kind":"custom"}`).set("S2LD_DEAD_LETTERS_REDRIVE=true")
	redrive.check(t, okConfig, okBroker, okTopic, okDead, okGroup, okLD, skipID)
	if _, stderr, code := run(redrive.sys, "preview"); code != exitUsage || !strings.Contains(stderr, "redrive") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

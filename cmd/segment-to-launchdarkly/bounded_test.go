package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// newBounded returns a world for runs that end, and its fake LaunchDarkly.
func newBounded(t *testing.T) (*world, *ldtest.Server) {
	t.Helper()
	w := newWorld(t, kfake.SeedTopics(1, "failed"),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	ld := ldtest.New(ldtest.Config{Retain: true})
	server := httptest.NewServer(ld)
	t.Cleanup(server.Close)
	return w.set("S2LD_LAUNCHDARKLY_EVENTS_URL="+server.URL, "S2LD_ADMIN_LISTEN=127.0.0.1:0", "S2LD_BATCH_MAX_AGE=20ms",
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID="+ldtest.Sample.ClientSideID), ld
}

// end runs a command that ends with exit code 0. It returns the output without its last line, and
// decodes that line into summary.
func (w *world) end(t *testing.T, summary any, args ...string) (stdout string) {
	t.Helper()
	stdout, stderr, code := run(w.sys, args...)
	if code != 0 {
		t.Fatalf("%v: exit %d\n%s\n%s", args, code, stdout, stderr)
	}
	if summary == nil {
		return stdout
	}
	stdout = strings.TrimSuffix(stdout, "\n")
	last := strings.LastIndexByte(stdout, '\n') + 1
	if err := json.Unmarshal([]byte(stdout[last:]), summary); err != nil {
		t.Fatalf("%v: %v in %s", args, err, stdout)
	}
	return stdout[:last]
}

func TestRunUntilEndPrintsASummary(t *testing.T) {
	w, ld := newBounded(t)
	w.produce(t, tenCalls()...)
	var s app.Summary
	if out := w.end(t, &s, "run", "--until-end"); out != "" {
		t.Errorf("output before the summary: %q", out)
	}
	if !s.Complete || s.Records != 10 || s.Delivered != 10 || len(ld.Events()) != 10 {
		t.Errorf("summary %+v, %d events", s, len(ld.Events()))
	}
	w.end(t, &s, "run", "--until", time.Now().Format(time.RFC3339))
	if s.Records != 0 || len(ld.Events()) != 10 {
		t.Errorf("summary of the second run: %+v, %d events", s, len(ld.Events()))
	}
}

// Of three hours of records, the second hour is replayed.
func TestReplayOfOneHourOutOfThree(t *testing.T) {
	w, ld := newBounded(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.DefaultProduceTopic("segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	from := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	var want []string
	for minute := range 180 {
		name := fmt.Sprintf("e%d", minute)
		if minute/60 == 1 {
			want = append(want, name)
		}
		r := &kgo.Record{
			Value:     []byte(`{"type":"track","event":"` + name + `","userId":"u"}`),
			Timestamp: from.Add(time.Duration(minute-60) * time.Minute),
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"replay", "--from", "2026-01-31T08:00:00Z", "--to", "2026-01-31T10:00:00+01:00"}
	description := "Period   2026-01-31T08:00:00Z to 2026-01-31T09:00:00Z\nTopics   segment\n" +
		"Group    g-replay-20260131T080000Z-20260131T090000Z\nRecords  60\nEvents   about 60\n\n" +
		"Events that LaunchDarkly has already counted will count again.\n"
	if out := w.end(t, nil, append(args, "--dry-run")...); out != description || len(ld.Events()) > 0 {
		t.Errorf("dry run: %d events\n%s", len(ld.Events()), out)
	}
	if _, stderr, code := run(w.sys, args...); code != exitUsage || !strings.Contains(stderr, "--yes: must be set") {
		t.Errorf("without --yes: exit %d, %s", code, stderr)
	}
	var s app.Summary
	if out := w.end(t, &s, append(args, "--yes")...); out != description {
		t.Errorf("output %s", out)
	}
	var got []string
	for _, e := range ld.Events() {
		var event struct{ Key string }
		if err := json.Unmarshal(e, &event); err != nil {
			t.Fatal(err)
		}
		got = append(got, event.Key)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !s.Complete || s.Records != 60 || !slices.Equal(got, want) {
		t.Errorf("summary %+v, events %v", s, got)
	}
	out := w.end(t, &s, append(args, "--yes")...)
	if s.Records != 0 || len(ld.Events()) != 60 || !strings.Contains(out, "(continues") ||
		!strings.Contains(out, "Records  0") {
		t.Errorf("repeated: summary %+v, %d events\n%s", s, len(ld.Events()), out)
	}
	w.end(t, &s, append(args, "--yes", "--group", "another")...)
	if s.Records != 60 || len(ld.Events()) != 120 {
		t.Errorf("with another group: summary %+v, %d events", s, len(ld.Events()))
	}
	// The offsets of this group are at 09:00.
	later := []string{"replay", "--from", "2026-01-31T09:30:00Z", "--group", "another", "--yes"}
	if _, stderr, code := run(w.sys, later...); code != exitFailure || !strings.Contains(stderr, "before the period") {
		t.Errorf("group of an earlier period: exit %d, %s", code, stderr)
	}
	if n := len(ld.Events()); n != 120 {
		t.Errorf("%d events", n)
	}
}

// The dead letters have three reasons. After the cause of two is fixed, one is redriven, then the
// rest.
func TestRedriveOfOneReasonOutOfThree(t *testing.T) {
	w, ld := newBounded(t)
	var calls []string
	for i := range 4 {
		calls = append(calls,
			fmt.Sprintf(`{"type":"track","event":"e","account":"u%d"}`, i),
			fmt.Sprintf(`{"type":"track","userId":"u%d"}`, i),
			fmt.Sprintf(`{"type":"track","event":"e","userId":"u","properties":%d}`, i))
	}
	w.produce(t, calls...)
	var summary struct {
		Complete bool
		Reasons  map[string]app.Summary
	}
	w.end(t, &app.Summary{}, "run", "--until-end")
	if n := len(ld.Events()); n != 0 {
		t.Fatalf("%d events", n)
	}
	// The new schema reads the user from another field.
	w.set("S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4", "S2LD_LAUNCHDARKLY_CONTEXTS=user=account,userId")
	count := func(waiting ...int) string {
		return fmt.Sprintf("Dead letters in topic dead:\n\n  total  not redriven  reason\n"+
			"      4%14d  no_event_name\n      4%14d  no_user_key\n      4%14d  properties_not_object\n",
			waiting[0], waiting[1], waiting[2])
	}
	if out := w.end(t, nil, "redrive", "--dry-run"); out != count(4, 4, 4) {
		t.Errorf("dry run:\n%s, want\n%s", out, count(4, 4, 4))
	}
	out := w.end(t, &summary, "redrive", "--reason", "no_user_key", "--failed-topic", "failed")
	if out != count(4, 4, 4) || len(ld.Events()) != 4 || !summary.Complete || len(summary.Reasons) != 1 ||
		summary.Reasons["no_user_key"].Delivered != 4 {
		t.Errorf("%d events, summary %+v\n%s", len(ld.Events()), summary, out)
	}
	summary.Reasons = nil
	out = w.end(t, &summary, "redrive", "--failed-topic", "failed")
	if out != count(4, 0, 4) || len(ld.Events()) != 4 || len(summary.Reasons) != 2 {
		t.Errorf("%d events, summary %+v\n%s", len(ld.Events()), summary, out)
	}
	if out := w.end(t, nil, "redrive", "--dry-run"); out != count(0, 0, 0) {
		t.Errorf("at the end:\n%s", out)
	}
	w.set("S2LD_DEAD_LETTERS_TOPIC=failed")
	if out := w.end(t, nil, "redrive", "--dry-run"); !strings.Contains(out, "4  no_event_name\n") ||
		!strings.Contains(out, "4  properties_not_object\n") {
		t.Errorf("failed again:\n%s", out)
	}
}

func TestBoundedCommandsRejectInvalidFlags(t *testing.T) {
	w, _ := newBounded(t)
	for _, c := range []struct{ args, want string }{
		{"run --until yesterday", "--until: must be a time"},
		{"run --until 2026-01-31T00:00:00Z --until-end", "none of the others can be"},
		{"replay", `required flag(s) "from" not set`},
		{"run --until=", "--until: must be a time"},
		{"replay --from 2026-01-31T00:00:00Z --to now", "--to: must be a time"},
		{"replay --from 2026-01-31T00:00:00Z --to=", "--to: must be a time"},
		{"replay --from 2026-01-31T00:00:00.5Z", "--from: must be a whole second"},
		{"replay --from 2026-01-31T00:00:00Z --to 2026-01-31T00:00:00Z", "--from: must be before the end"},
		{"replay --from 2026-01-31T00:00:00Z --group g", "--group: must not be kafka.group"},
		{"redrive", "--failed-topic: must be set"},
		{"redrive --failed-topic dead", "--failed-topic: must not be the topic to redrive"},
		{"redrive --failed-topic segment", "--failed-topic: must not be one of kafka.topics"},
		{"redrive --dry-run --reason typo", "--reason: must be one of [refused malformed"},
	} {
		stdout, stderr, code := run(w.sys, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, output %q, error %q; want %q", c.args, code, stdout, stderr, c.want)
		}
	}
	w.set("S2LD_DEAD_LETTERS_TOPIC=")
	_, stderr, code := run(w.sys, "redrive", "--dry-run")
	if code != exitUsage || !strings.Contains(stderr, "dead_letters.topic: must be set") {
		t.Errorf("without a dead-letter topic: exit %d, %s", code, stderr)
	}
}

// The last line of an 80-column terminal shows the bar. Log entries appear above it.
func TestBarStaysBelowTheLog(t *testing.T) {
	var screen strings.Builder
	b := &bar{terminal: &screen, columns: func() int { return 80 }}
	b.show(app.Progress{Records: 100, Delivered: 90, Passed: 100, Remaining: 300, PerSecond: 50, ETA: 6 * time.Second})
	fmt.Fprintln(b, "entry")
	b.show(app.Progress{Records: 400, Delivered: 360, Passed: 400, PerSecond: 75})
	b.remove()
	b.remove()
	want := "[######-------------------]  25% 100 records, 90 events, 300 left, 50.0/s, 6.0s\r\x1b[Kentry\n" +
		"[##############################] 100% 400 records, 360 events, 0 left, 75.0/s\r\x1b[K"
	if screen.String() != want {
		t.Errorf("screen %q, want %q", screen.String(), want)
	}
}

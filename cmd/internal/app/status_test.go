package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

func TestStateReportsTheReason(t *testing.T) {
	now := time.Now()
	halted := sink.Halt{Since: now, Cause: "401 Unauthorized", Advice: "Check the URL."}
	outage := sink.Outage{
		Since: now.Add(-time.Minute), Attempts: 1234, Next: now.Add(9500 * time.Millisecond),
		Cause: "503 Service Unavailable",
	}
	unreachable := sink.Outage{
		Since: now, Attempts: 9, Cause: "no such host", Advice: "Fix launchdarkly.events_url.", Unreachable: true,
	}
	one := []consumer.PartitionStatus{{Topic: "t", InFlight: 2, Age: 90 * time.Second}}
	joined := consumer.Status{Joined: true, Partitions: one}
	for name, c := range map[string]struct {
		stopping   bool
		status     consumer.Status
		halt       sink.Halt
		outage     sink.Outage
		counts     counts
		tone       tone
		word, want string // want is part of the reasons
	}{
		"joining": {word: "joining", tone: wait, want: "waiting to join"},
		"running": {status: joined, counts: counts{LastDelivery: now}, word: "running", tone: good},
		"standing by": {
			status: consumer.Status{Joined: true},
			word:   "standing by", tone: wait, want: "no partition is assigned",
		},
		"halted": {
			status: joined, halt: halted, counts: counts{LastDelivery: now},
			word: "halted", tone: bad, want: "401 Unauthorized. Check the URL.",
		},
		"outage": {
			status: joined, outage: outage, counts: counts{LastDelivery: now},
			word: "retrying", tone: wait,
			want: "Z (1,234 failed in a row, next attempt in 9.",
		},
		"outage with advice": {
			status: joined, counts: counts{LastDelivery: now.Add(-80 * time.Second)},
			outage: sink.Outage{Since: now, Attempts: 1, Cause: "connection refused", Advice: "Start the server."},
			word:   "retrying", tone: wait,
			want: "(1 failed in a row, next attempt now): connection refused. Start the server.; no delivery for 1m20s",
		},
		"unreachable": {
			status: joined, outage: unreachable, counts: counts{LastDelivery: now},
			word: "needs attention", tone: bad, want: "Z: no such host. Fix launchdarkly.events_url.",
		},
		"problem": {
			status: consumer.Status{Problems: []string{"topic t does not exist"}},
			word:   "needs attention", tone: bad, want: "topic t does not exist",
		},
		"draining": {
			stopping: true, status: joined, halt: halted,
			word: "draining", tone: wait, want: "shutting down; delivery halted since ",
		},
		"no recent delivery": {
			status: joined, counts: counts{LastDelivery: now.Add(-80 * time.Second)},
			word: "not delivering", tone: bad, want: "no delivery for 1m20s, with 2 batches waiting",
		},
		"no delivery since start": {
			status: joined, word: "not delivering", tone: bad, want: "no delivery for 1m30s",
		},
	} {
		sent := sink.Status{Halt: c.halt, Outage: c.outage}
		got := newPage(c.stopping, c.status, sent, c.counts, 5*time.Second).State
		reasons := strings.Join(got.Reasons, "; ")
		if got.Word != c.word || got.Tone != c.tone || !strings.Contains(reasons, c.want) ||
			(reasons == "") != (c.want == "") {
			t.Errorf("%s: %+v", name, got)
		}
		ready := len(unready(c.stopping, c.status, sent)) == 0
		if want := slices.Contains([]string{"running", "standing by", "retrying", "not delivering"}, c.word); ready != want {
			t.Errorf("%s: ready %v", name, ready)
		}
	}
}

func TestStuckAndLaggingPartitionsAreListedFirst(t *testing.T) {
	oldest := time.Now().Add(-3 * time.Hour)
	s := consumer.Status{Partitions: []consumer.PartitionStatus{
		{Partition: 0, Lag: 9_000},
		{Partition: 1, Lag: 50_000, Oldest: oldest.Add(time.Hour)},
		{Partition: 2, InFlight: 3, Age: 2 * time.Minute},
		{Partition: 3},
		{Partition: 4, Lag: 60_000, InFlight: 1, Age: time.Second, Oldest: oldest},
		{Partition: 5, Lag: 9_999},
		{Partition: 6, InFlight: 1, Age: 3 * time.Minute, Lag: 5},
	}}
	p := newPage(false, s, sink.Status{}, counts{}, 5*time.Second)
	var order []int32
	for _, row := range p.Partitions {
		order = append(order, row.Partition)
	}
	if want := []int32{6, 2, 4, 1, 0, 3, 5}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if p.Total.Lag != 129_004 || p.Total.InFlight != 5 || p.Total.Age != 3*time.Minute || p.Total.Oldest != oldest {
		t.Errorf("total %+v", p.Total)
	}
}

func TestPageReportsCallsWithoutEvents(t *testing.T) {
	for _, c := range []struct {
		calls map[call]int64
		word  string
		want  string
	}{
		{map[call]int64{{"rejected", "no_user_key"}: 99}, "running", ""},
		{map[call]int64{{"rejected", "no_user_key"}: 1000, {"event", ""}: 1}, "running", ""},
		{
			map[call]int64{{"rejected", "no_user_key"}: 1000, {"filtered", "not_track"}: 234, {"event", ""}: 0}, "no events",
			"none of the 1,234 calls in the last minute became an event; the most frequent reason is no_user_key (rejected)",
		},
	} {
		p := page{State: state{Tone: good, Word: "running"}, Rates: rates{counts: counts{Calls: c.calls}}}
		p.reportNoEvents()
		if got := strings.Join(p.State.Reasons, ""); p.State.Word != c.word || got != c.want {
			t.Errorf("%v: %+v", c.calls, p.State)
		}
	}
	p := page{State: state{Tone: bad, Word: "halted"}, Rates: rates{counts: counts{Calls: map[call]int64{{}: 1000}}}}
	if p.reportNoEvents(); p.State.Word != "halted" {
		t.Errorf("a worse state is hidden: %+v", p.State)
	}
}

func TestPageShowsAThousandPartitions(t *testing.T) {
	var b bytes.Buffer
	if err := statusTemplate.Execute(&b, extremePage(1000)); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), `id="partitions"`)
	rows := strings.Count(table, `<th scope="row"`)
	if rows != 1000 {
		t.Errorf("%d rows", rows)
	}
	if b.Len() > 400<<10 {
		t.Errorf("the page has %d KiB, want at most 400", b.Len()>>10)
	}
}

func TestExpectedRequestsFollowTheRatePerPartition(t *testing.T) {
	b := config.Batch{MaxEvents: 1000, MaxAge: 5 * time.Second}
	for events, want := range map[int64]string{0: "0", 300: "4.0", 60_000: "19.6", 60_000_000: "1,000"} {
		p := page{Partitions: make([]partition, 100), Rates: rates{time.Minute, counts{Calls: map[call]int64{
			{"event", ""}: events, {"filtered", "not_track"}: 1_000_000,
		}}}}
		if got := formatRate(p.expectedRequests(b)); got != want {
			t.Errorf("%d events in a minute: %s requests per second, want %s", events, got, want)
		}
	}
	if got := (&page{}).expectedRequests(b); got != 0 {
		t.Errorf("%v requests without partitions", got)
	}
}

func BenchmarkPageOfAThousandPartitions(b *testing.B) {
	for b.Loop() {
		if err := statusTemplate.Execute(io.Discard, extremePage(1000)); err != nil {
			b.Fatal(err)
		}
	}
}

// Topic names, group names, and LaunchDarkly's responses are untrusted.
func TestPageEscapesUntrustedText(t *testing.T) {
	const hostile = `<script>alert(1)</script>`
	sent := sink.Status{
		Halt: sink.Halt{Since: time.Now(), Cause: hostile}, Outage: sink.Outage{Since: time.Now(), Cause: hostile},
	}
	p := newPage(false, consumer.Status{Problems: []string{hostile}}, sent, counts{}, 0)
	p.Group, p.Topics, p.Address = hostile, []string{hostile}, "javascript:alert(1)"
	p.Warnings = []logEntry{{Message: hostile, Details: hostile}}
	var b bytes.Buffer
	if err := statusTemplate.Execute(&b, p); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "<script>"); n != 1 {
		t.Errorf("%d scripts, want 1, the script of the page", n)
	}
}

func TestCountsCombineConsumerAndSink(t *testing.T) {
	s := newStage(t, 1)
	s.produce(track("a"), track("b"), `{"type":"identify"}`, `{`)
	s.run()
	s.delivered(2)
	s.leave()
	got := s.counts()
	if got.Records != 4 || got.Delivered != 2 || got.Requests == 0 || got.Responses["202"] != got.Requests ||
		got.LastDelivery.IsZero() {
		t.Errorf("%+v", got)
	}
	for c, n := range got.Calls {
		want := map[call]int64{{"event", ""}: 2, {"filtered", "not_track"}: 1, {"rejected", "malformed"}: 1}[c]
		if n != want {
			t.Errorf("%v: %d calls, want %d", c, n, want)
		}
	}
	if got.Buffered != 0 || got.BufferedLimit != 64<<20 {
		t.Errorf("%d of %d bytes buffered", got.Buffered, got.BufferedLimit)
	}
}

func TestRatesCoverTheLastMinute(t *testing.T) {
	start := time.Now()
	var h history
	at := func(second, n int64) counts {
		return counts{
			At:      start.Add(time.Duration(second) * time.Second),
			Records: n, Delivered: n, Requests: n, Retries: n, Rejected: n,
			Responses: map[string]int64{"202": n}, Calls: map[call]int64{{"event", ""}: n},
		}
	}
	if r := at(0, 0).ratesSince(h.minuteAgo(at(0, 0))); r.PerSecond(r.Records) != "0" {
		t.Errorf("before the first sample: %+v", r)
	}
	for second := int64(0); second <= 120; second += 10 {
		h.add(at(second, second*second))
	}
	r := at(125, 15_625).ratesSince(h.minuteAgo(counts{}))
	const n = 15_625 - 60*60
	want := rates{65 * time.Second, at(125, n)}
	want.Responses, want.Calls = map[string]int64{"202": n}, map[call]int64{{"event", ""}: n}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v\nwant %+v", r, want)
	}
	for n, want := range map[int64]string{
		0: "0", 13: "0.2", 65: "1.0", 6_500: "100", 650_000: "10,000", 650_000_000: "10.0 M",
	} {
		if got := r.PerSecond(n); got != want {
			t.Errorf("%d in 65 s: %s, want %s", n, got, want)
		}
	}
}

func TestChartsSpanTheLast15Minutes(t *testing.T) {
	start := time.Now()
	var h history
	if got := charts(h.all()); got != nil {
		t.Errorf("charts without samples: %v", got)
	}
	for i := range int64(200) { // older samples are dropped
		h.add(counts{At: start.Add(time.Duration(i) * sampleInterval), Records: 100 * i * (i % 2), Delivered: 20 * i, Lag: i})
	}
	got := charts(h.all())
	for i, want := range []struct{ title, last, peak, first, final string }{
		{"Records read", "1,990/s", "1,990/s", "3.3,", "300.0,0.0"},
		{"Events delivered", "2.0/s", "2.0/s", "3.3,0.0", "300.0,0.0"},
		{"Lag", "199 records", "199 records", "3.3,26.8", "300.0,0.0"},
	} {
		c := got[i]
		points := strings.Fields(c.Points)
		if c.Title != want.title || c.Last != want.last || c.Max != want.peak || len(points) != sampleCount-1 ||
			!strings.HasPrefix(points[0], want.first) || points[len(points)-1] != want.final {
			t.Errorf("%+v, want %+v", c, want)
		}
	}
	flat := []counts{{At: start}, {At: start.Add(time.Second)}}
	if c := charts(flat)[0]; c.Points != "300.0,60.0" || c.Last != "0/s" {
		t.Errorf("without records: %+v", c)
	}
}

func TestNameRowsHaveTheRateOfTheLastMinute(t *testing.T) {
	rows := nameRows([]consumer.EventName{{Name: "a", Events: 1300, WithValue: 650}, {Name: "b", Events: 5}},
		[]consumer.EventName{{Name: "a", Events: 1000}}, rates{Over: time.Minute})
	if rows[0].PerSecond != "5.0" || rows[0].WithValueShare() != "50%" {
		t.Errorf("%+v", rows[0])
	}
	if rows[1].PerSecond != "" || rows[1].WithValueShare() != "0%" {
		t.Errorf("%+v", rows[1])
	}
}

func TestNumbersAreReadable(t *testing.T) {
	for got, want := range map[string]string{
		number(0): "0", number(999): "999", number(1000): "1,000",
		number(-1234567): "-1,234,567", number(-123): "-123",
		brief(999_999): "999,999", brief(1_250_000): "1.2 M", brief(12_000_000_000): "12.0 B",
		size(0): "0 KiB", size(1): "1 KiB", size(1 << 20): "1 MiB", size(64 << 20): "64 MiB",
		short(0): "0.0s", short(1234 * time.Millisecond): "1.2s",
		short(59 * time.Second): "59s", short(61 * time.Second): "1m1s",
		short(3*time.Hour + 59*time.Minute): "3h59m", short(49 * time.Hour): "2d1h",
		percent(2, 3): "67%", percent(0, 0): "–", formatRate(0): "0", formatRate(0.26): "0.3", formatRate(1e6): "1.0 M",
		statusText("503"): "503 Service Unavailable", statusText("error"): "no valid response",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRecentKeepsOnlyWarningsWithKnownFields(t *testing.T) {
	r := newRecent()
	log := zap.New(r).Named("sink").
		With(zap.String("topic", "t"), zap.Int32("partition", 3), zap.String("user", "secret"))
	log.Debug("secret")
	log.Info("secret")
	log.Warn("calls rejected", zap.Int64("offset", 16), zap.String("reason", "malformed"), zap.Int("call", 1))
	log.Warn("event rejected", zap.Int64("offset", 17), zap.String("reason", "refused"), zap.String("response", "secret"))
	log.Error("halted", zap.Int64("offset", 18), zap.Int("status", 401), zap.String("response", "secret"),
		zap.Error(errors.New("secret")))
	log.Error("halted", zap.Int64("offset", 18), zap.Int("status", 401))
	log.Error(strings.Repeat("long ", 100))
	warnings, refused := r.last()
	if len(refused) != 1 || refused[0].Message != "event rejected" ||
		refused[0].Details != "reason refused, topic t, partition 3, offset 17" {
		t.Errorf("refused %+v", refused)
	}
	if len(warnings) != 2 || len(warnings[0].Message) > messageBytes+3 || warnings[1].Times != 2 ||
		warnings[1].Details != "status 401, topic t, partition 3, offset 18" {
		t.Errorf("warnings %+v", warnings)
	}
	if all := fmt.Sprint(warnings, refused); strings.Contains(all, "secret") {
		t.Error(all)
	}
	for i := range 100 {
		log.Warn("one of many", zap.Int("offset", i))
	}
	warnings, _ = r.last()
	if len(warnings) != recentKept || !strings.HasSuffix(warnings[0].Details, "offset 99") {
		t.Errorf("%d kept, the first %+v", len(warnings), warnings[0])
	}
}

func TestPageListsUndeliverableCallsLatestFirst(t *testing.T) {
	start := time.Now()
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	got := undeliverable(
		[]consumer.RejectedCalls{
			{
				Reason: transform.TooLarge, Count: 12, Detail: "too large",
				Topic: "t", Partition: 1, Offset: 2, Call: 3, Time: at(1),
			},
			{Reason: transform.Malformed, Count: 1, Time: at(3)},
		},
		[]logEntry{{Time: at(2), Message: "event rejected"}, {Time: at(0), Message: "event rejected"}},
	)
	want := logEntry{at(1), 12, "warn", "call rejected",
		"reason too_large, topic t, partition 1, offset 2, call 3: too large"}
	if len(got) != 4 || got[2] != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if !slices.IsSortedFunc(got, func(a, b logEntry) int { return b.Time.Compare(a.Time) }) {
		t.Errorf("not sorted: %+v", got)
	}
}

// extremePage returns a page with every problem and with long names and large numbers.
func extremePage(partitions int) page {
	now := time.Now()
	s := consumer.Status{
		Joined: true, LastPoll: now, LastCommit: now.Add(-26 * time.Hour),
		Problems: []string{"cannot write to the dead-letter topic " + strings.Repeat("long", 40) +
			"; offset commit blocked: NOT_ENOUGH_REPLICAS: Messages are rejected"},
	}
	for i := range partitions {
		row := consumer.PartitionStatus{
			Topic: "segment.events.production", Partition: int32(i),
			Watermark: 1_234_567_890_123, End: 1_234_567_890_123,
		}
		switch {
		case i%3 == 0:
			row.End += int64(i) * 98_765
			row.Lag = row.End - row.Watermark
		case i == 50:
			row.End = -1
		}
		if i%40 == 7 {
			row.InFlight, row.Age = 64, time.Duration(i)*time.Minute
		}
		s.Partitions = append(s.Partitions, row)
	}
	c := counts{
		At: now, Records: 123_456_789_012, Delivered: 98_765_432_109, Rejected: 12,
		Requests: 987_654_321, Retries: 55_555,
		Calls: map[call]int64{
			{"event", ""}: 98_765_432_109, {"filtered", "not_track"}: 1_000_000_000,
			{"rejected", "properties_not_object"}: 12_345,
		},
		Responses: map[string]int64{"202": 987_654_321, "431": 7, "511": 1_000, "error": 54_548},
		Buffered:  64 << 20, BufferedLimit: 64 << 20, LastDelivery: now.Add(-3 * time.Hour),
	}
	halt := sink.Halt{
		Since: now.Add(-3 * time.Hour),
		Cause: "301 Moved Permanently to " + strings.Repeat("long", 60), Advice: "Check the credentials.",
	}
	p := newPage(false, s, sink.Status{Halt: halt}, c, 5*time.Second)
	p.Version, p.Uptime = "v1.23.4-rc.1+0123456789ab", 76*time.Hour
	p.Host = "segment-to-launchdarkly-6d5f8c7b9-x2x7z"
	p.Group = "segment-to-launchdarkly.production.eu-west-1"
	p.Topics = []string{"segment.events.production", "segment.events.staging"}
	p.DeadLetters = "segment.events.production.dead-letters"
	p.Address = "https://events.launchdarkly.com/v2/event-data-import/a-project-key-that-is-long/production"
	p.Rates, p.Expected = c.ratesSince(counts{At: now.Add(-time.Minute)}), "987.6 M"
	var samples []counts
	for i := range int64(sampleCount) {
		samples = append(samples, counts{
			At: now.Add(-time.Duration(sampleCount-i) * sampleInterval), Records: i * i * i * 1_000_000, Lag: 1e12 * (i % 7),
		})
	}
	p.Charts = charts(samples)
	for range shownNames {
		name := consumer.EventName{Name: strings.Repeat("Long Name", 12), Events: 987_654_321_012, WithValue: 1}
		p.Names = append(p.Names, nameRow{name, "1.2 M"})
	}
	line := "  events_url: https://events.launchdarkly.com # default " + strings.Repeat("long ", 30) + "\n"
	p.Config = strings.Repeat(line, 60)
	r := newRecent()
	log := zap.New(r)
	const topic = "segment.events.production"
	for i := range 2 * recentKept {
		log.Error([]string{"unable to open connection to broker", "unable to refresh metadata"}[i%2],
			zap.String("addr", "b-1.example.com:9096"), zap.Error(errors.New("refused")))
	}
	log.Error(fmt.Sprint("cannot reach the brokers: ", strings.Repeat("unable to dial: ", 100)))
	const offset = 1_234_567_890_123
	log.Warn("event rejected by LaunchDarkly", zap.String("topic", topic), zap.Int32("partition", 3),
		zap.Int64("offset", offset), zap.String("reason", "refused"), zap.Int("status", 400))
	var rejects []consumer.RejectedCalls
	for reason := range transform.Reasons {
		if reason.Outcome() == transform.Rejected {
			rejects = append(rejects, consumer.RejectedCalls{
				Reason: reason, Count: 123_456_789, Detail: "the event has 1234567890 bytes, more than the maximum",
				Topic: topic, Partition: 999, Offset: offset, Call: 1234, Time: now,
			})
		}
	}
	warnings, refused := r.last()
	p.Warnings, p.Letters = warnings, undeliverable(rejects, refused)
	return p
}

package ldapi_test

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// counts is a result of Usage.
type counts = map[string]map[time.Time]int64

func TestUsageCountsEventsByKeyAndHour(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Uncounted = []string{"Lost"}
		start := time.Now().UTC().Truncate(time.Hour) // in a bubble, the current time
		next := start.Add(time.Hour)
		w.deliver(ldtest.Sample, 1, "a", "a", "b")
		w.deliver(ldtest.Sample, 3, "a") // counts once
		w.deliver(other, 1, "a")
		w.deliver(ldtest.Sample, 1, "Lost")
		time.Sleep(time.Hour - time.Second)
		w.deliver(ldtest.Sample, 1, "b", "ü, \"c\"")
		time.Sleep(time.Second)
		w.deliver(ldtest.Sample, 1, "a")
		time.Sleep(time.Hour)
		w.deliver(ldtest.Sample, 1, "later")

		for _, test := range []struct {
			environment string
			from, to    time.Time
			want        counts
		}{
			{environment, start, next, counts{"a": {start: 3}, "b": {start: 2}, "ü, \"c\"": {start: 1}}},
			{environment, next, next.Add(time.Hour), counts{"a": {next: 1}}},
			{
				environment, start, next.Add(time.Hour),
				counts{"a": {start: 3, next: 1}, "b": {start: 2}, "ü, \"c\"": {start: 1}},
			},
			{other.Key, start, next, counts{"a": {start: 1}}},
			{environment, start.Add(-time.Hour), start, counts{}},
		} {
			got, err := w.client.Usage(t.Context(), ldapi.UsageQuery{
				Project: project, Environment: test.environment, From: test.from, To: test.to,
			})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s, %v to %v: got %v, want %v", test.environment, test.from, test.to, got, test.want)
			}
		}
		for _, r := range w.sent() {
			if h := r.Header; h.Get("LD-API-Version") != "beta" || h.Get("Authorization") != ldtest.APIToken {
				t.Errorf("%s, %v", r.URL, h)
			}
		}
	})
}

func TestUsageAddsUpSeriesAndIgnoresOtherHours(t *testing.T) {
	hour := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	for body, want := range map[string]counts{
		`{"metadata":[{"eventKey":"a","environmentId":"1"},{"eventKey":"a","environmentId":"2"},{"eventKey":""}],` +
			`"series":[{"time":1769850000000,"0":9},{"time":1769853600000,"0":1,"1":2.0,"2":4},` +
			`{"time":1769855400000,"0":8},{"time":1769857200000,"0":16}]}`: {"a": {hour: 11}, "": {hour: 4}},
		`{"metadata":[],"series":[]}`: {},
		// Without groupBy, a series has no key. The number of all events must not pass for one of them.
		`{"metadata":[{}],"series":[{"time":1769853600000,"0":1}]}`: nil,
		// A response of another shape must not pass for one without events.
		`{}`: nil,
		`{"metadata":[{"eventKey":"a"}],"series":[{"0":5}]}`:                      nil,
		`{"metadata":[{"eventKey":"a"}],"series":[{"time":1769853600,"0":5}]}`:    nil,
		`{"metadata":[{"eventKey":"a"}],"series":[{"time":1769861000000,"0":5}]}`: nil,
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.respond = func(rw http.ResponseWriter, _ *http.Request) {
				rw.Write([]byte(body)) //nolint:errcheck // the client may have disconnected
			}
			got, err := w.client.Usage(t.Context(), ldapi.UsageQuery{
				Project: project, Environment: environment, From: hour, To: hour.Add(time.Hour),
			})
			if !reflect.DeepEqual(got, want) || (err == nil) != (want != nil) {
				t.Errorf("%s\ngot %v, %v, want %v", body, got, err, want)
			}
		})
	}
}

package ldapi_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestMetricsReadsAllPagesInOrder(t *testing.T) {
	for _, n := range []int{0, 1, 50, 51, 120} {
		inBubble(t, func(t *testing.T, w *world) {
			want := numbered(n)
			w.api.Metrics = metricsNamed(want...)
			if got := w.metrics(false); got != strings.Join(want, " ") {
				t.Errorf("%d metrics: got %s", n, got)
			}
			if want := max((n+49)/50, 1); len(w.sent()) != want {
				t.Errorf("%d metrics: %d requests, want %d", n, len(w.sent()), want)
			}
			for _, r := range w.sent() {
				h := r.Header
				if h.Get("Authorization") != ldtest.APIToken || h.Get("User-Agent") != "segment-to-launchdarkly/1.2.3" ||
					h.Get("LD-API-Version") != "20240415" || r.URL.Query().Get("sort") != "createdAt" {
					t.Errorf("%s, %v", r.URL, h)
				}
			}
		})
	}
}

func TestMetricsOmitsOtherKindsAndArchivedMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Metrics = map[string][]ldtest.Metric{
			project: {
				{Key: "idle", EventKey: "a"},
				{Key: "page", Kind: "pageview"}, {Key: "click", Kind: "click"}, {Key: "trace", Kind: "trace"},
				{Key: "archived", EventKey: "b", Archived: true, Experiments: 1},
				{Key: "experiment", EventKey: "c", Experiments: 1},
				{Key: "rollout", EventKey: "d", Rollouts: 2},
				{Key: "page in an experiment", Kind: "pageview", Experiments: 1},
			},
			"another": {{Key: "elsewhere", EventKey: "e", Experiments: 1}},
		}
		if got := w.metrics(false); got != "idle experiment rollout" {
			t.Errorf("all: %s", got)
		}
		if got := w.metrics(true); got != "experiment rollout" {
			t.Errorf("used: %s", got)
		}
	})
}

func TestMetricFields(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Metrics = map[string][]ldtest.Metric{project: {
			{
				Key: "revenue", Name: "Revenue", EventKey: "Order Completed", Numeric: true,
				Units: []string{"user", "account"}, DataSource: "snowflake-orders",
			},
			{Key: "plain", EventKey: "Signed Up"},
		}}
		got, err := w.client.Metrics(t.Context(), project, false)
		if err != nil {
			t.Fatal(err)
		}
		want := []ldapi.Metric{
			{
				Key: "revenue", Name: "Revenue", EventKey: "Order Completed", Numeric: true,
				RandomizationUnits: []string{"user", "account"}, DataSource: "snowflake-orders",
			},
			{
				Key: "plain", Name: "plain", EventKey: "Signed Up", RandomizationUnits: []string{"user"},
				DataSource: ldtest.HostedDataSource,
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if !got[0].Warehouse() || got[1].Warehouse() || (ldapi.Metric{}).Warehouse() {
			t.Error("only the first metric is fed from a data warehouse")
		}
	})
}

// Metrics of older versions of the API have only randomizationUnits, and the newest may have only
// analysisUnits.
func TestUnitsHaveTwoNames(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.respond = func(rw http.ResponseWriter, _ *http.Request) {
			rw.Write([]byte(`{"items":[` + //nolint:errcheck // the client may have disconnected
				`{"key":"a","kind":"custom","randomizationUnits":["user"]},` +
				`{"key":"b","kind":"custom","analysisUnits":["account"]},` +
				`{"key":"c","kind":"custom","analysisUnits":["account"],"randomizationUnits":["user"]},` +
				`{"key":"d","kind":"custom"}]}`))
		}
		metrics, err := w.client.Metrics(t.Context(), project, false)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range metrics {
			got = append(got, strings.Join(m.RandomizationUnits, ","))
		}
		if want := []string{"user", "account", "account", ""}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestFiltersWithoutGroups(t *testing.T) {
	const country = `{"type":"contextAttribute","attribute":"country","op":"in","values":["JP"],"contextKind":"user",` +
		`"negate":false}`
	const total = `{"type":"eventProperty","attribute":"total","op":"greaterThan","values":[10],"negate":true}`
	group := func(op, negate, values string) string {
		return `{"type":"group","op":"` + op + `","negate":` + negate + `,"values":[` + values + `]}`
	}
	for filters, want := range map[string][]ldapi.Filter{
		"":                        nil,
		"null":                    nil,
		group("and", "false", ""): nil,
		group("and", "true", ""):  nil,
		group("or", "false", total): {{
			Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}, Negate: true,
		}},
		group("and", "false", country+","+total): {
			{
				Type: ldapi.ContextAttribute, Attribute: "country", Op: "in", Values: []any{"JP"},
				ContextKind: "user",
			},
			{Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}, Negate: true},
		},
		group("and", "false", country+","+group("or", "false", total+","+total)): {
			{
				Type: ldapi.ContextAttribute, Attribute: "country", Op: "in", Values: []any{"JP"},
				ContextKind: "user",
			},
			{
				Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}, Negate: true,
				Alternative: true,
			},
			{
				Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}, Negate: true,
				Alternative: true,
			},
		},
		// Not both is the same as not one or not the other.
		group("and", "true", total+","+total): {
			{Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}, Alternative: true},
			{Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}, Alternative: true},
		},
		// Neither is the same as not one and not the other.
		group("or", "true", total+","+total): {
			{Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}},
			{Type: ldapi.EventProperty, Attribute: "total", Op: "greaterThan", Values: []any{10.}},
		},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.api.Metrics = map[string][]ldtest.Metric{project: {{Key: "a", Filters: filters}}}
			metrics, err := w.client.Metrics(t.Context(), project, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := metrics[0].Filters; !reflect.DeepEqual(got, want) {
				t.Errorf("%s\ngot  %+v\nwant %+v", filters, got, want)
			}
		})
	}
}

func TestMetricsStartsAgainIfTheListChanges(t *testing.T) {
	for name, change := range map[string]func([]string) []string{
		"deleted": func(keys []string) []string { return keys[1:] },
		"added":   func(keys []string) []string { return append(keys, "new") },
		// The total is the same, but the second page starts with a metric of the first one.
		"replaced": func(keys []string) []string { return append([]string{"new"}, keys[:len(keys)-1]...) },
	} {
		inBubble(t, func(t *testing.T, w *world) {
			first := numbered(60)
			w.api.Metrics = metricsNamed(first...)
			w.before = func(n int) {
				if n == 2 {
					w.api.Metrics = metricsNamed(change(first)...)
				}
			}
			if got, want := w.metrics(false), strings.Join(change(first), " "); got != want {
				t.Errorf("%s: got %s", name, got)
			}
			if len(w.sent()) != 4 {
				t.Errorf("%s: %d requests, want 4", name, len(w.sent()))
			}
		})
	}
}

func TestMetricsFailsIfTheListKeepsChanging(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.before = func(n int) { w.api.Metrics = metricsNamed(numbered(60 + n)...) }
		metrics, err := w.client.Metrics(t.Context(), project, false)
		const want = "list metrics: the list changed while it was read"
		if err == nil || err.Error() != want || metrics != nil || len(w.sent()) != 6 {
			t.Errorf("%d metrics, error %v, %d requests", len(metrics), err, len(w.sent()))
		}
	})
}

// The total number is optional in the documentation of the API.
func TestMetricsWithoutTotalCount(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.respond = func(rw http.ResponseWriter, r *http.Request) {
			const metric = `{"kind":"custom","key":"`
			body := metric + strings.Join(numbered(50), `"},`+metric) + `"}`
			if r.URL.Query().Get("offset") == "50" {
				body = `{"kind":"click","key":"click"},{"kind":"custom","key":"last"}` // ignores the filter
			}
			rw.Write([]byte(`{"items":[` + body + `]}`)) //nolint:errcheck // the client may have disconnected
		}
		if got := w.metrics(false); !strings.HasPrefix(got, "m1 m2 ") || !strings.HasSuffix(got, " m50 last") {
			t.Errorf("got %s", got)
		}
	})
}

// A part of the list would be worse than none, because its events would be the only ones delivered.
func TestMetricsNeverReturnsAPartOfTheList(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Metrics = metricsNamed(numbered(60)...)
		w.api.Script(ldtest.Fault{}, ldtest.Fault{Status: 404})
		if metrics, err := w.client.Metrics(t.Context(), project, false); err == nil || metrics != nil {
			t.Errorf("%d metrics, error %v", len(metrics), err)
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		w.respond = func(rw http.ResponseWriter, r *http.Request) {
			body := `{"items":[{"kind":"custom","key":"a"}],"totalCount":2}`
			if r.URL.Query().Get("offset") != "0" {
				body = `{"items":[],"totalCount":2}`
			}
			rw.Write([]byte(body)) //nolint:errcheck // the client may have disconnected
		}
		if metrics, err := w.client.Metrics(t.Context(), project, false); err == nil || metrics != nil {
			t.Errorf("%d metrics, error %v", len(metrics), err)
		}
	})
}

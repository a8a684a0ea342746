package metriccheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

var levels = map[Level]string{OK: "ok", Skipped: "skip", Warning: "warn", Failure: "fail"}

// newCheck returns a Check of metrics that has counted the given calls.
func newCheck(t *testing.T, rules transform.Config, metrics []ldapi.Metric, calls ...string) *Check {
	t.Helper()
	mapping, err := transform.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	c, transformer := New(metrics, rules), mapping.NewTransformer()
	for _, call := range calls {
		for _, explained := range transformer.Explain(transform.Record{Value: []byte(call), Timestamp: 1}) {
			c.Add(explained)
		}
	}
	return c
}

// check compares metrics with calls, and returns one line per result.
func check(t *testing.T, rules transform.Config, metrics []ldapi.Metric, calls ...string) (lines []string) {
	t.Helper()
	for _, r := range newCheck(t, rules, metrics, calls...).Results() {
		lines = append(lines, fmt.Sprintf("%s %s: %s", levels[r.Level], r.Metric.Key, r.Text))
	}
	return lines
}

// track returns a track call with the given event name and properties.
func track(event, properties string) string {
	return fmt.Sprintf(`{"type":"track","event":%s,"userId":"u","properties":%s}`, event, properties)
}

var (
	schema3 = transform.Config{Schema: 3, MetricValue: []string{"properties.value"}, HonorIntegrations: true}
	schema4 = transform.Config{Schema: 4, Contexts: map[string][]string{"user": {"userId"}, "account": {"groupId"}}}
)

func onProperty(name string) []ldapi.Filter {
	return []ldapi.Filter{{Type: ldapi.EventProperty, Attribute: name, Op: "in", Values: []any{"a"}}}
}

func TestEachMistakeIsFound(t *testing.T) {
	order := track(`"Order"`, `{"value":"x","tax":1,"total":{"eur":"2.50","id":"A-1","in.usd":3},"":4,
		"items":[{"sku":"s"}],"plan":"pro","address":{"city":"c","a":{"b":{"deep":1}}},"none":null}`)
	for _, test := range []struct {
		name   string
		rules  transform.Config
		metric ldapi.Metric
		calls  []string
		want   []string
	}{
		{"ok", schema3, ldapi.Metric{}, []string{order, order}, []string{"ok m: events seen: 2"}},
		{
			"no configured path", schema4,
			ldapi.Metric{Numeric: true, RandomizationUnits: []string{"user", "account"}, Filters: onProperty("plan")},
			[]string{
				order, track(`"Order"`, `{"zeta":1}`),
				`{"type":"track","event":"Order","groupId":"g","properties":{"zeta":"2"}}`,
			},
			[]string{
				"fail m: is numeric, but no event (events seen: 3) has a number at launchdarkly.metric_value (empty). " +
					"Add the right path: properties.zeta (events: 2), properties.tax (events: 1), " +
					"properties.total.eur (events: 1).",
			},
		},
		{
			"counts of what some events have", schema3,
			ldapi.Metric{Numeric: true, Filters: slices.Concat(onProperty("plan"), onProperty("plan"))},
			[]string{order, track(`"Order"`, `{"value":7}`), track(`"Order"`, `{"value":7,"plan":false}`)},
			[]string{"ok m: events seen: 3; with a metric value: 2; with the property plan: 2"},
		},
		{
			"another letter case", schema3, ldapi.Metric{},
			[]string{track(`"order"`, "{}"), track(`"order"`, "{}"), track(`"Ordr"`, "{}")},
			[]string{
				`warn m: never seen. The closest name is "order" (events seen: 2). ` +
					"Change the metric's event key, because names must match exactly.",
			},
		},
		{
			"nothing similar", schema3, ldapi.Metric{}, []string{track(`"Signup"`, "{}")},
			[]string{"warn m: never seen. The event might be rare, or only other programs send it."},
		},
		{
			"no event", schema3, ldapi.Metric{},
			[]string{
				`{"type":"track","event":"Order","userId":"u","integrations":{"All":false}}`,
				`{"type":"track","event":"Order","userId":"u","integrations":{"All":false}}`,
				`{"type":"track","event":"Order"}`, `{"type":"page","event":"Order"}`, `{"event":"Order"}`, `7`,
			},
			[]string{
				"warn m: never seen, because no call with this name becomes an event (calls: 3). " +
					"The most frequent reason is integrations: " + transform.Integrations.Help() + ".",
			},
		},
		{
			"no number", schema3, ldapi.Metric{Numeric: true},
			[]string{track(`"Order"`, `{"value":"x","n":[1],"a":{"b":{"c":{"d":1}}}}`)},
			[]string{
				"fail m: is numeric, but no event (events seen: 1) has a number at launchdarkly.metric_value " +
					"(properties.value). The calls contain no number under properties.",
			},
		},
		{
			"schema 3", schema3, ldapi.Metric{RandomizationUnits: []string{"account"}}, []string{order},
			[]string{
				"fail m: is randomized by the context kind account, but schema 3 provides only the kind user. " +
					"Set launchdarkly.event_schema to 4, and add the kind to launchdarkly.contexts.",
			},
		},
		{
			"one of two kinds", schema4, ldapi.Metric{RandomizationUnits: []string{"device", "user"}}, []string{order},
			[]string{
				"warn m: can also be randomized by the context kind device, which launchdarkly.contexts does not contain. " +
					"Add the kind.",
			},
		},
		{
			"no key of a kind", schema4, ldapi.Metric{RandomizationUnits: []string{"account"}}, []string{order},
			[]string{
				"fail m: is randomized by the context kind account, but no event (events seen: 1) has a key for it. " +
					"Fix the fields of the kind in launchdarkly.contexts.",
			},
		},
		{
			"no user", schema4, ldapi.Metric{RandomizationUnits: []string{"user"}},
			[]string{`{"type":"track","event":"Order","groupId":"g"}`},
			[]string{
				"fail m: is randomized by the context kind user, but no event (events seen: 1) has a key for it. " +
					"Fix the fields of the kind in launchdarkly.contexts.",
			},
		},
		{
			"filters", schema3,
			ldapi.Metric{Filters: slices.Concat(
				onProperty("items"), onProperty("sku"), onProperty("/address/city"), onProperty("Plan"), onProperty("none"),
				onProperty("plan"), onProperty("deep"), []ldapi.Filter{{Type: ldapi.ContextAttribute, Attribute: "country"}},
				[]ldapi.Filter{{Type: ldapi.EventProperty, Attribute: "coupon", Negate: true}},
				[]ldapi.Filter{{Type: ldapi.EventProperty, Attribute: "refund", Alternative: true}},
			)},
			[]string{order},
			[]string{
				"fail m: filters on the context attribute country, but the events contain only the keys of contexts. " +
					"Filter on a property of the event instead.",
				"fail m: filters on the property /address/city, which is nested at properties.address.city. " +
					"LaunchDarkly filters only on the top level of properties.",
				"fail m: filters on the property Plan, which no event has (events seen: 1). The closest property is plan. " +
					"Change the filter, because names must match exactly.",
				"fail m: filters on the property deep, which no event has (events seen: 1). Change the filter or the calls.",
				"fail m: filters on the property items, which is an object or an array. " +
					"LaunchDarkly filters only on strings, numbers, and booleans.",
				"fail m: filters on the property none, which no event has (events seen: 1). Change the filter or the calls.",
				"fail m: filters on the property sku, which is nested at properties.items[].sku. " +
					"LaunchDarkly filters only on the top level of properties.",
				"warn m: filters on the property coupon, which no event has (events seen: 1). Change the filter or the calls.",
				"warn m: filters on the property refund, which no event has (events seen: 1). Change the filter or the calls.",
			},
		},
		{
			"warehouse", schema3, ldapi.Metric{DataSource: "snow", Numeric: true}, []string{order},
			[]string{
				"fail m: counts the rows of a data warehouse (data source snow), and not the events seen (1). " +
					"Create a metric for events that are sent to LaunchDarkly.",
			},
		},
		{
			"warehouse without events", schema3, ldapi.Metric{DataSource: "snow"}, nil,
			[]string{"skip m: counts the rows of a data warehouse (data source snow)"},
		},
	} {
		test.metric.Key, test.metric.EventKey = "m", "Order"
		if got := check(t, test.rules, []ldapi.Metric{test.metric}, test.calls...); !slices.Equal(got, test.want) {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}

func TestNumberIsAName(t *testing.T) {
	got := check(t, schema3, []ldapi.Metric{{Key: "m", EventKey: "7"}}, `{"type":"track","event":7}`)
	if len(got) != 1 || !strings.HasPrefix(got[0], "warn m: never seen, because no call with this name") {
		t.Errorf("%q", got)
	}
}

// The event does not contain what launchdarkly.data removes.
func TestRemovedPropertyIsFound(t *testing.T) {
	c := New([]ldapi.Metric{{EventKey: "E", Filters: onProperty("plan")}}, schema3)
	c.Add(transform.Explained{
		Source: []byte(`{"event":"E","properties":{"plan":"pro"}}`), Event: []byte(`{"key":"E","userKey":"u","data":{}}`),
	})
	r := c.Results()
	if len(r) != 1 || r[0].Level != Failure || !strings.Contains(r[0].Text, "plan, which launchdarkly.data removes") {
		t.Errorf("%+v", r)
	}
}

func TestMetricsAreOrderedByEventKey(t *testing.T) {
	metrics := []ldapi.Metric{{Key: "c", EventKey: "2"}, {Key: "b", EventKey: "1"}, {Key: "a", EventKey: "1"}, {Key: "d"}}
	got := check(t, schema3, metrics, track("1", "{}"), track(`"1"`, "null"), track(`"2"`, "{}"), track(`"3"`, "{}"))
	want := []string{
		"skip d: has no event key", "ok a: events seen: 2", "ok b: events seen: 2", "ok c: events seen: 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if metrics[0].Key != "c" {
		t.Error("the caller's slice is sorted")
	}
}

func TestCheckContainsNoValues(t *testing.T) {
	c := newCheck(t, schema3, []ldapi.Metric{{EventKey: "E", Numeric: true, Filters: onProperty("plan")}},
		`{"type":"track","event":"E","userId":"SECRET","properties":{"plan":"SECRET","n":77,"a":["SECRET"]}}`)
	if text := fmt.Sprintf("%+v %+v", *c.events["E"], c.Results()); strings.Contains(text, "SECRET") {
		t.Error(text)
	}
}

func TestSizeOfCheckIsBounded(t *testing.T) {
	var calls []string
	for i := range maxNames + 10 {
		properties := fmt.Sprintf(`{"n%d":1}`, i)
		calls = append(calls, track(`"E"`, properties), track(fmt.Sprintf(`"Other %d"`, i), properties))
	}
	c := newCheck(t, schema3, []ldapi.Metric{{EventKey: "E", Filters: onProperty("plan")}}, calls...)
	e := c.events["E"]
	if len(c.others) != maxNames || len(e.numbers) != maxPaths || len(e.names) != maxPaths || e.seen != maxNames+10 {
		t.Errorf("%d names, %d paths, %d properties, %d events", len(c.others), len(e.numbers), len(e.names), e.seen)
	}
}

func TestClosestName(t *testing.T) {
	for _, test := range []struct {
		wanted string
		names  []string
		want   string
	}{
		{"Order Completed", []string{"order completed", "Order_Completed", "Order Complete"}, "order completed"},
		{"Order Completed", []string{"Order Complete", "order_completed"}, "order_completed"},
		{"Order Completed", []string{"OrderCompleted "}, "OrderCompleted "},
		{"Order Completed", []string{"Order Completed "}, "Order Completed "},
		{"Order Completed", []string{"Order Complete"}, "Order Complete"},
		{"Order Completed", []string{"Order-Compketed"}, "Order-Compketed"},
		{"Order Completed", []string{"Order Completedd"}, "Order Completedd"},
		{"Order Completed", []string{"Xrder Completed"}, "Xrder Completed"},
		{"Order Completed", []string{"Order Complet", "Order Canceled", "Completed Order", "", "Order Completed"}, ""},
		{"Größe", []string{"Grösse", "Gröse"}, "Gröse"},
		{"E1", []string{"E2", "F1", "E"}, ""}, // too short
	} {
		counts := map[string]int{}
		for _, name := range test.names {
			counts[name] = 1
		}
		if got := closest(test.wanted, counts); got != test.want {
			t.Errorf("closest to %q of %q: %q, want %q", test.wanted, test.names, got, test.want)
		}
	}
	if got := closest("Order", map[string]int{"Orders": 0}); got != "" {
		t.Errorf("%q was never seen", got)
	}
	for _, counts := range []map[string]int{
		{"Orders": 1, "Order1": 2}, {"Orders": 2, "Order1": 1}, {"Orders": 0, "Order1": 1},
	} {
		want := "Order1"
		if counts["Orders"] > counts["Order1"] {
			want = "Orders"
		}
		if got := closest("Order", counts); got != want {
			t.Errorf("%v: %q, want %q", counts, got, want)
		}
	}
}

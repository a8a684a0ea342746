package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

var update = flag.Bool("update", false, "write the golden file")

// checkMetrics runs check with --metrics, and returns the lines about metrics.
func (w *world) checkMetrics(t *testing.T) (lines string, code int) {
	t.Helper()
	out, stderr, code := run(w.sys, "check", "--metrics")
	if stderr != "" {
		t.Errorf("%s\n%s", stderr, out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "  metric") {
			lines += line
		}
	}
	return lines, code
}

// call returns a track call.
func call(event, more string) string {
	return `{"type":"track","event":"` + event + `","userId":"user-77","timestamp":"2020-06-19T17:39:30.692Z"` + more + `}`
}

// The golden file shows one metric per kind of mistake.
func TestCheckMetricsFindsEachMistake(t *testing.T) {
	const golden = "testdata/check_metrics.golden"
	filter := func(attribute string) string {
		return `{"type":"group","op":"and","negate":false,"values":[` +
			`{"type":"eventProperty","attribute":"` + attribute + `","op":"in","values":["a"],"negate":false}]}`
	}
	const country = `{"type":"group","op":"and","negate":false,"values":[{"type":"contextAttribute",` +
		`"attribute":"country","contextKind":"user","op":"in","values":["DE"],"negate":false}]}`
	order := call("Order Completed", `,"properties":{"revenue":19.9,"tax":"1.5","plan":"pro",`+
		`"products":[{"category":"SECRET"}],"address":{"city":"SECRET"},"email":"SECRET"}`)
	w := newWorld(t).produce(t, order, order, call("Order Completed", `,"properties":{"revenue":5}`),
		call("Signed Up", ""), call("Invoice Paid", `,"integrations":{"All":false}`), call("Trial_Started", ""))
	w.setMetrics(t,
		ldtest.Metric{Key: "signups", EventKey: "Signed Up"},
		ldtest.Metric{Key: "orders-pro", EventKey: "Order Completed", Filters: filter("plan")},
		ldtest.Metric{Key: "trials", EventKey: "Trial Started"},
		ldtest.Metric{Key: "refunds", EventKey: "Order Refunded"},
		ldtest.Metric{Key: "invoices", EventKey: "Invoice Paid"},
		ldtest.Metric{Key: "revenue", EventKey: "Order Completed", Numeric: true},
		ldtest.Metric{Key: "accounts", EventKey: "Order Completed", Units: []string{"account"}},
		ldtest.Metric{Key: "any-unit", EventKey: "Order Completed", Units: []string{"user", "account"}},
		ldtest.Metric{Key: "category", EventKey: "Order Completed", Filters: filter("category")},
		ldtest.Metric{Key: "products", EventKey: "Order Completed", Filters: filter("products")},
		ldtest.Metric{Key: "email", EventKey: "Order Completed", Filters: filter("email")},
		ldtest.Metric{Key: "coupon", EventKey: "Order Completed", Filters: filter("coupon")},
		ldtest.Metric{Key: "germany", EventKey: "Order Completed", Filters: country},
		ldtest.Metric{Key: "warehouse", EventKey: "Order Completed", DataSource: "snowflake-orders"},
		ldtest.Metric{Key: "archived", EventKey: "Order Completed", Archived: true},
	)
	w.set("S2LD_LAUNCHDARKLY_DATA_EXCEPT=email")
	got, code := w.checkMetrics(t)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || code != exitFailure || got != string(want) {
		t.Errorf("exit %d, %v\n%s\nwant\n%s", code, err, got, want)
	}
	for _, secret := range []string{"SECRET", "user-77", "19.9"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is in\n%s", secret, got)
		}
	}

	w.set("S2LD_LAUNCHDARKLY_METRIC_VALUE=properties.revenue", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4",
		"S2LD_LAUNCHDARKLY_CONTEXTS=user=userId;account=userId")
	w.setMetrics(t, ldtest.Metric{Key: "revenue", EventKey: "Order Completed", Numeric: true, Units: []string{"account"}},
		ldtest.Metric{Key: "refunds", EventKey: "Order Refunded"})
	got, code = w.checkMetrics(t)
	if code != 0 || got != "ok    metrics: custom metrics in project "+ldtest.Sample.Project+
		": 2; events in the newest 6 records: 5\n"+
		"ok    metric revenue (event \"Order Completed\"): events seen: 3\n"+
		"warn  metric refunds (event \"Order Refunded\"): never seen. "+
		"The event might be rare, or only other programs send it.\n" {
		t.Errorf("exit %d\n%s", code, got)
	}
}

func TestCheckMetricsNeedsMetricsAndEvents(t *testing.T) {
	result := "metrics: custom metrics in project " + ldtest.Sample.Project
	metric := ldtest.Metric{Key: "signups", EventKey: "Signed Up"}
	for _, test := range []struct {
		records []string
		metrics []ldtest.Metric
		environ string
		want    string
	}{
		{nil, []ldtest.Metric{metric}, "", "skip  " + result + ": 1; events in the newest 0 records: 0"},
		{[]string{aCall}, nil, "", "warn  " + result + ": 0; events in the newest 1 records: 1. LaunchDarkly counts"},
		{[]string{aCall}, nil, "LAUNCHDARKLY_API_TOKEN=", "FAIL  metrics: launchdarkly.api_token: must be set"},
		{[]string{aCall}, nil, "LAUNCHDARKLY_API_TOKEN=x", "FAIL  metrics: list metrics: ...The access token is invalid"},
		{[]string{"{}"}, nil, "DEAD_LETTERS_REDRIVE=true", "skip  metrics: the records are dead letters"},
		{[]string{"{}"}, nil, "", "skip  metrics: another check failed"},
	} {
		w := newWorld(t).produce(t, test.records...)
		w.setMetrics(t, test.metrics...)
		if test.environ != "" {
			w.set("S2LD_" + test.environ)
		}
		got, code := w.checkMetrics(t)
		start, contained, _ := strings.Cut(test.want, "...")
		fails := strings.HasPrefix(start, "FAIL") || strings.Contains(start, "another")
		if !strings.HasPrefix(got, start) || !strings.Contains(got, contained) || strings.Count(got, "\n") != 1 ||
			(code == exitFailure) != fails {
			t.Errorf("exit %d, %s, want %s", code, got, test.want)
		}
	}
	w := newWorld(t).produce(t, aCall)
	w.setMetrics(t, ldtest.Metric{Key: "orders", EventKey: "Order Completed"})
	w.set("S2LD_SEGMENT_REQUIRE=context.none")
	if got, code := w.checkMetrics(t); code != 0 || !strings.Contains(got, "never seen, because no call") ||
		!strings.Contains(got, "The most frequent reason is anonymous") {
		t.Errorf("every call filtered: exit %d, %s", code, got)
	}
	if _, stderr, code := run(newWorld(t).sys, "check", "--metrics", "--offline"); code != exitUsage ||
		!strings.Contains(stderr, "--metrics: must not be set together with --offline") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

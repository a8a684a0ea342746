package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// setMetrics makes w use a fake of LaunchDarkly's REST API with the given metrics.
func (w *world) setMetrics(t *testing.T, metrics ...ldtest.Metric) *ldtest.API {
	t.Helper()
	api := &ldtest.API{Metrics: map[string][]ldtest.Metric{ldtest.Sample.Project: metrics}}
	server := httptest.NewServer(ldtest.New(ldtest.Config{API: api}))
	t.Cleanup(server.Close)
	w.set("S2LD_LAUNCHDARKLY_API_URL="+server.URL, "S2LD_LAUNCHDARKLY_API_TOKEN="+ldtest.APIToken,
		"S2LD_LAUNCHDARKLY_PROJECT_KEY="+ldtest.Sample.Project)
	return api
}

func TestMetricsListsEventKeys(t *testing.T) {
	metrics := []ldtest.Metric{
		{Key: "orders", EventKey: "Order Completed"},
		{Key: "revenue", EventKey: "Order Completed", Experiments: 1},
		{Key: "signups", EventKey: "Signed Up", Rollouts: 1},
		{Key: "lower", EventKey: "order completed"},
		{Key: "quoted", EventKey: ` "Größe" `},
		{Key: "old", EventKey: "Old", Archived: true, Experiments: 1},
		{Key: "page", EventKey: "Page", Kind: "pageview", Experiments: 1},
		{Key: "ratio", Experiments: 1},
		{Key: "rows", EventKey: "Row", Experiments: 1, DataSource: "snowflake"},
	}
	var w world
	w.setMetrics(t, metrics...)
	for args, want := range map[string]string{
		"metrics":        " \"Größe\" \nOrder Completed\nSigned Up\norder completed\n",
		"metrics --used": "Order Completed\nSigned Up\n",
	} {
		out, stderr, code := run(w.sys, strings.Fields(args)...)
		if code != 0 || stderr != "" || out != want {
			t.Errorf("%s: exit %d, %q, %s; want %q", args, code, out, stderr, want)
		}
	}

	// The list that the command writes need not exist yet.
	w.set("S2LD_SEGMENT_EVENTS_ONLY_FILE=/nowhere/events.txt")
	metrics, want := nil, ""
	for i := range 120 { // three pages
		metrics = append(metrics, ldtest.Metric{Key: fmt.Sprint(i), EventKey: fmt.Sprintf("%03d", 119-i)})
		want += fmt.Sprintf("%03d\n", i)
	}
	w.setMetrics(t, metrics...)
	if out, stderr, code := run(w.sys, "metrics"); code != 0 || out != want {
		t.Errorf("exit %d, %s, %q", code, stderr, out)
	}
}

func TestMetricsNeverPrintsAnEmptyOrIncompleteList(t *testing.T) {
	good := ldtest.Metric{Key: "good", EventKey: "Good"}
	for _, test := range []struct {
		metrics []ldtest.Metric
		environ string
		args    string
		code    int
		want    string // part of the error
	}{
		{nil, "", "", 1, "no event keys for project " + ldtest.Sample.Project + ". Create a custom metric, or fix"},
		{[]ldtest.Metric{good}, "", "--used", 1, "Create a custom metric and use it, or fix launchdarkly.project_key"},
		{[]ldtest.Metric{{Key: "ratio"}, {Key: "old", EventKey: "E", Archived: true}}, "", "", 1, "no event keys"},
		{[]ldtest.Metric{good, {Key: "lines", EventKey: "a\nb"}}, "", "", 1, `metric lines: the event key "a\nb" cannot`},
		{[]ldtest.Metric{good, {Key: "lines", EventKey: "a\r"}}, "", "", 1, `metric lines: the event key "a\r" cannot`},
		{[]ldtest.Metric{good, {Key: "mark", EventKey: "\ufeffa"}}, "", "", 1, `metric mark: the event key "\ufeffa" cannot`},
		{[]ldtest.Metric{good}, "API_TOKEN=wrong", "", 1, "401 Unauthorized: Invalid access token. The access token is"},
		{[]ldtest.Metric{good}, "API_TOKEN=" + ldtest.Sample.Token, "", 1, "The role Reader is sufficient."},
		{[]ldtest.Metric{good}, "PROJECT_KEY=wrong", "", 1, "404 Not Found: Invalid resource identifier. Project wrong"},
		{[]ldtest.Metric{good}, "API_TOKEN=", "", 2, "launchdarkly.api_token: must be set"},
		{[]ldtest.Metric{good}, "PROJECT_KEY=", "", 2, "launchdarkly.project_key: must be set"},
	} {
		var w world
		w.setMetrics(t, test.metrics...)
		if test.environ != "" {
			w.set("S2LD_LAUNCHDARKLY_" + test.environ)
		}
		file := writeFile(t, "events.txt", "before")
		for _, args := range []string{"metrics ", "metrics --configmap c ", "metrics --output " + file + " "} {
			out, stderr, code := run(w.sys, strings.Fields(args+test.args)...)
			content, err := os.ReadFile(file)
			if code != test.code || out != "" || !strings.Contains(stderr, test.want) || string(content) != "before" {
				t.Errorf("%s%s %s: exit %d, %q, file %q (%v), error %s, want %s",
					args, test.args, test.environ, code, out, content, err, stderr, test.want)
			}
			if strings.Contains(stderr, ldtest.Sample.Token) {
				t.Errorf("the error contains the token: %s", stderr)
			}
		}
	}
}

func TestMetricsReplacesTheOutputFile(t *testing.T) {
	var w world
	w.setMetrics(t, ldtest.Metric{Key: "m", EventKey: "E"})
	file := writeFile(t, "events.txt", "before")
	if err := os.Link(file, file+".link"); err != nil {
		t.Fatal(err)
	}
	out, stderr, code := run(w.sys, "metrics", "--output", file)
	if want := "event keys written to " + file + ": 1\n"; code != 0 || stderr != "" || out != want {
		t.Errorf("exit %d, %s%s, want %s", code, out, stderr, want)
	}
	for path, want := range map[string]string{file: "E\n", file + ".link": "before"} {
		if content, err := os.ReadFile(path); err != nil || string(content) != want {
			t.Errorf("%s: %q, want %q (%v)", path, content, want, err)
		}
	}
	// Another user, such as that of the next container, can read the file.
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if files, err := filepath.Glob(filepath.Dir(file) + "/.*"); err != nil || len(files) != 0 {
		t.Errorf("files left: %v, %v", files, err)
	}
	if _, stderr, code = run(w.sys, "metrics", "--output", file+"/x"); code != 1 || !strings.Contains(stderr, file) {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestMetricsPrintsAManifest(t *testing.T) {
	var w world
	w.setMetrics(t, ldtest.Metric{Key: "a", EventKey: "Order Completed"}, ldtest.Metric{Key: "b", EventKey: `"<E>"`})
	const configMap = `{
  "apiVersion": "v1",
  "data": {
    "events.txt": "\"\u003cE\u003e\"\nOrder Completed\n"
  },
  "kind": "ConfigMap",
  "metadata": {
    "name": "metric-events"
  }
}
`
	const deployment = `{
  "apiVersion": "apps/v1",
  "kind": "Deployment",
  "metadata": {
    "name": "forwarder"
  },
  "spec": {
    "template": {
      "metadata": {
        "annotations": {
          "segment-to-launchdarkly/metric-events": "sha256:SUM"
        }
      }
    }
  }
}
`
	// printf '"<E>"\nOrder Completed\n' | sha256sum
	const sum = "d6c867ac01e2efb757a4618658a2035fee207f2b128180c9662611e1be6f5aed"
	for args, want := range map[string]string{
		"":                    configMap,
		"--restart forwarder": configMap + strings.Replace(deployment, "SUM", sum, 1),
	} {
		out, stderr, code := run(w.sys, strings.Fields("metrics --configmap metric-events "+args)...)
		if code != 0 || stderr != "" || out != want {
			t.Errorf("exit %d, %s\n%s\nwant\n%s", code, stderr, out, want)
		}
	}
}

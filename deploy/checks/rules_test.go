package checks

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const (
	rulesFile     = deploy + "/prometheus/rules.yaml"
	rulesTests    = deploy + "/prometheus/tests.yaml"
	dashboardFile = deploy + "/grafana/dashboard.json"
	runbookFile   = deploy + "/README.md"
)

// promql parses as Prometheus does without feature flags.
var promql = parser.NewParser(parser.Options{})

// rules returns the rules, parsed by Prometheus.
func rules(t *testing.T) (all []rulefmt.Rule) {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Fatal(err)
	}
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// alerts returns the rules that are alerts.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(r rulefmt.Rule) bool { return r.Alert == "" })
}

// changedRules returns the file of rules with each rule changed.
func changedRules(t *testing.T, change func(rule map[string]any)) []byte {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string           `json:"name"`
			Rules []map[string]any `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(readFile(t, rulesFile), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			change(r)
		}
	}
	out, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// promtool runs the cases, but does not report an alert without one.
func TestEachAlertHasACaseThatFiresAndOneThatDoesNot(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert string `json:"alertname"`
				Want  []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(readFile(t, rulesTests), &file); err != nil {
		t.Fatal(err)
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Want) > 0 {
				fires[c.Alert] = true
			} else {
				rests[c.Alert] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !rests[a.Alert] {
			t.Errorf("%s: fires %v, rests %v", a.Alert, fires[a.Alert], rests[a.Alert])
		}
	}
	if len(fires) != len(alerts(t)) {
		t.Errorf("cases for %d alerts, there are %d", len(fires), len(alerts(t)))
	}
}

func TestAlertsSayWhatTheyHaveTo(t *testing.T) {
	for _, a := range alerts(t) {
		if !strings.HasPrefix(a.Alert, "SegmentToLaunchDarkly") {
			t.Errorf("%s: whose alert is it?", a.Alert)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		for _, name := range []string{"summary", "description", "runbook_url"} {
			if a.Annotations[name] == "" {
				t.Errorf("%s: no %s", a.Alert, name)
			}
		}
		if summary := a.Annotations["summary"]; !strings.Contains(summary, "{{ $labels.group }}") {
			t.Errorf("%s: the summary does not say which group", a.Alert)
		}
	}
}

// Scrapes may be a minute apart: a range holds a few of them.
func TestRangesHoldSeveralScrapes(t *testing.T) {
	for _, r := range rules(t) {
		expr, err := promql.ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if m, ok := n.(*parser.MatrixSelector); ok && m.Range < 5*time.Minute {
				t.Errorf("%s%s: %v", r.Record, r.Alert, m)
			}
			return nil
		})
	}
}

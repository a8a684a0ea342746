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
	rulesFile     = chartDir + "/files/rules.yaml"
	rulesTests    = deploy + "/prometheus/tests.yaml"
	dashboardFile = chartDir + "/files/dashboard.json"
	runbookFile   = deploy + "/README.md"
)

// promql parses like Prometheus without feature flags.
var promql = parser.NewParser(parser.Options{})

// rules returns the rules, parsed by Prometheus's parser.
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

// alerts returns the alerting rules.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(r rulefmt.Rule) bool { return r.Alert == "" })
}

// changedRules returns the rules file after applying change to each rule.
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

// promtool runs the cases, but does not report alerts without a case.
func TestEachAlertHasAFiringAndASilentCase(t *testing.T) {
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
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Want) > 0 {
				fires[c.Alert] = true
			} else {
				silent[c.Alert] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s: firing case %v, silent case %v", a.Alert, fires[a.Alert], silent[a.Alert])
		}
	}
	if len(fires) != len(alerts(t)) {
		t.Errorf("cases for %d alerts, want %d", len(fires), len(alerts(t)))
	}
}

func TestAlertsAreComplete(t *testing.T) {
	for _, a := range alerts(t) {
		if !strings.HasPrefix(a.Alert, "SegmentToLaunchDarkly") {
			t.Errorf("%s: prefix SegmentToLaunchDarkly missing", a.Alert)
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
			t.Errorf("%s: the summary does not name the group", a.Alert)
		}
	}
}

// The scrape interval can be a minute.
func TestRangesContainSeveralScrapes(t *testing.T) {
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

package checks

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// targetLabels are the labels that Prometheus adds to each series, in Kubernetes through the
// chart's monitors.
var targetLabels = []string{"job", "instance", "namespace", "pod"}

// expression is a PromQL expression of a rule or a dashboard panel.
type expression struct {
	where  string
	expr   string
	labels []string // labels that the result must have, because a legend or an annotation shows them
}

var (
	legendLabel     = regexp.MustCompile(`{{ *(\w+) *}}`)
	annotationLabel = regexp.MustCompile(`\$labels\.(\w+)`)
)

// submatches returns the text of the first group in each match of the pattern.
func submatches(pattern *regexp.Regexp, text string) (found []string) {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// variables replaces Grafana's variables with the values that select everything.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "3h",
	"$namespace", ".*", "$group", ".*", "$topic", ".*")

// expressions returns the expressions of the rules and the dashboard.
func expressions(t *testing.T) (all []expression) {
	t.Helper()
	for _, r := range rules(t) {
		text := ""
		for _, a := range r.Annotations {
			text += a
		}
		all = append(all, expression{r.Record + r.Alert, r.Expr, submatches(annotationLabel, text)})
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			all = append(all, expression{
				"panel " + p.Title, variables.Replace(target.Expr), submatches(legendLabel, target.LegendFormat),
			})
		}
	}
	return all
}

func TestExpressionsUseOnlyExportedSeries(t *testing.T) {
	found := exportedSeries(t)
	for _, r := range rules(t) {
		if r.Record == "" {
			continue
		}
		for _, label := range labelsOf(t, found, r.Expr) {
			found.add(r.Record, map[string]string{label: ""})
		}
	}
	all := expressions(t)
	if len(all) < 80 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	for _, e := range all {
		for _, err := range found.check(e) {
			t.Errorf("%s: %v\n%s", e.where, err, e.expr)
		}
	}

	// The check must detect each kind of mistake.
	for _, e := range []expression{
		{"misspelled metric", `rate(segment_launchdarkly_sink_event_delivered_total[5m])`, nil},
		{"label that the metric does not have", `sum(segment_launchdarkly_sink_halted{partition="0"})`, nil},
		{"value that the label never has", `rate(segment_launchdarkly_consumer_commits_total{result="failed"}[5m])`, nil},
		{"grouping by a label that the metric does not have", `sum by (topic) (segment_launchdarkly_sink_halted)`, nil},
		{
			"grouping by a label that an inner aggregation removes",
			`sum by (pod) (sum by (group) (segment_launchdarkly_sink_halted))`, nil,
		},
		{
			"matching on a label that neither metric has",
			`segment_launchdarkly_sink_halted and on (topic) segment_launchdarkly_consumer_joined`, nil,
		},
		{
			"annotation that shows a removed label",
			`sum by (group) (segment_launchdarkly_sink_halted)`, []string{"pod"},
		},
		{"invalid PromQL", `sum(`, nil},
	} {
		if found.check(e) == nil {
			t.Errorf("not detected: %s", e.where)
		}
	}
}

// labelsOf returns the labels of an expression's result.
func labelsOf(t *testing.T, e exported, expr string) []string {
	t.Helper()
	parsed, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	return e.labels(parsed)
}

// check returns an error for each metric, label, or label value in an expression that the program
// does not export.
func (e exported) check(x expression) (wrong []error) {
	parsed, err := promql.ParseExpr(x.expr)
	if err != nil {
		return []error{err}
	}
	for _, label := range x.labels {
		if !slices.Contains(e.labels(parsed), label) {
			wrong = append(wrong, fmt.Errorf("label %s is shown, but the result does not have it", label))
		}
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			wrong = append(wrong, e.checkSelector(n)...)
		case *parser.AggregateExpr:
			wrong = append(wrong, missing(e.labels(n.Expr), n.Grouping)...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil && n.VectorMatching.On {
				wrong = append(wrong, missing(e.labels(n.LHS), n.VectorMatching.MatchingLabels)...)
				wrong = append(wrong, missing(e.labels(n.RHS), n.VectorMatching.MatchingLabels)...)
			}
		}
		return nil
	})
	return wrong
}

// missing returns an error for each wanted label that is not in labels.
func missing(labels, wanted []string) (wrong []error) {
	for _, label := range wanted {
		if !slices.Contains(labels, label) {
			wrong = append(wrong, fmt.Errorf("no label %s", label))
		}
	}
	return wrong
}

// checkSelector returns an error for each part of a selector that matches no exported series. For a
// matcher with an empty value, the label only needs to exist, because a configuration can omit it.
func (e exported) checkSelector(v *parser.VectorSelector) (wrong []error) {
	values, ok := e[v.Name]
	if !ok {
		return []error{errors.New("no metric " + v.Name)}
	}
	for _, m := range v.LabelMatchers {
		if m.Name == labels.MetricName || slices.Contains(targetLabels, m.Name) {
			continue
		}
		if values[m.Name] == nil {
			wrong = append(wrong, fmt.Errorf("metric %s has no label %s", v.Name, m.Name))
		} else if m.Value != "" && !slices.ContainsFunc(slices.Collect(maps.Keys(values[m.Name])), m.Matches) {
			wrong = append(wrong, fmt.Errorf("metric %s: no series matches %s", v.Name, m))
		}
	}
	return wrong
}

// labels returns the labels of an expression's result.
func (e exported) labels(n parser.Expr) []string {
	switch n := n.(type) {
	case *parser.VectorSelector:
		return append(slices.Collect(maps.Keys(e[n.Name])), targetLabels...)
	case *parser.MatrixSelector:
		return e.labels(n.VectorSelector)
	case *parser.AggregateExpr:
		if n.Op == parser.TOPK || n.Op == parser.BOTTOMK {
			return e.labels(n.Expr)
		}
		return n.Grouping
	case *parser.ParenExpr:
		return e.labels(n.Expr)
	case *parser.BinaryExpr:
		if n.LHS.Type() == parser.ValueTypeScalar {
			return e.labels(n.RHS)
		}
		return e.labels(n.LHS)
	case *parser.Call:
		for _, arg := range n.Args {
			if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
				return e.labels(arg)
			}
		}
	}
	return nil
}

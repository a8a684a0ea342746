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

// targetLabels are what Prometheus adds to each series, in Kubernetes by the chart's monitors.
var targetLabels = []string{"job", "instance", "namespace", "pod"}

// expression is one of the rules or the dashboard.
type expression struct {
	where  string
	expr   string
	labels []string // that its result must have, because a text shows them
}

var (
	legendLabel     = regexp.MustCompile(`{{ *(\w+) *}}`)
	annotationLabel = regexp.MustCompile(`\$labels\.(\w+)`)
)

// submatches returns what the first group of a pattern matched, each time.
func submatches(pattern *regexp.Regexp, text string) (found []string) {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// variables are Grafana's, as for a dashboard that shows everything.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "3h", "$namespace", ".*", "$group", ".*", "$topic", ".*")

// expressions returns those of the rules and the dashboard.
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
			all = append(all, expression{"panel " + p.Title, variables.Replace(target.Expr), submatches(legendLabel, target.LegendFormat)})
		}
	}
	return all
}

func TestEveryExpressionAsksForWhatTheProgramExports(t *testing.T) {
	shown := series(t)
	for _, r := range rules(t) {
		if r.Record == "" {
			continue
		}
		for _, label := range labelsOf(t, shown, r.Expr) {
			shown.add(r.Record, map[string]string{label: ""})
		}
	}
	all := expressions(t)
	if len(all) < 80 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	for _, e := range all {
		for _, err := range shown.lacks(e) {
			t.Errorf("%s: %v\n%s", e.where, err, e.expr)
		}
	}

	// The check itself notices each kind of mistake.
	for _, e := range []expression{
		{"a metric that is misspelt", `rate(segment_launchdarkly_sink_event_delivered_total[5m])`, nil},
		{"a label that the metric does not have", `sum(segment_launchdarkly_sink_halted{partition="0"})`, nil},
		{"a value that the label never has", `rate(segment_launchdarkly_consumer_commits_total{result="failed"}[5m])`, nil},
		{"a grouping by what is not there", `sum by (topic) (segment_launchdarkly_sink_halted)`, nil},
		{"a grouping by what is gone", `sum by (pod) (sum by (group) (segment_launchdarkly_sink_halted))`, nil},
		{"a match on what is not there", `segment_launchdarkly_sink_halted and on (topic) segment_launchdarkly_consumer_joined`, nil},
		{"a text that shows what is gone", `sum by (group) (segment_launchdarkly_sink_halted)`, []string{"pod"}},
		{"no PromQL", `sum(`, nil},
	} {
		if shown.lacks(e) == nil {
			t.Errorf("not noticed: %s", e.where)
		}
	}
}

// labelsOf returns the labels of an expression's result.
func labelsOf(t *testing.T, shown exported, expr string) []string {
	t.Helper()
	parsed, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	return shown.labels(parsed)
}

// lacks returns what an expression asks for in vain.
func (e exported) lacks(x expression) (wrong []error) {
	parsed, err := promql.ParseExpr(x.expr)
	if err != nil {
		return []error{err}
	}
	for _, label := range x.labels {
		if !slices.Contains(e.labels(parsed), label) {
			wrong = append(wrong, fmt.Errorf("shows label %s, which the result does not have", label))
		}
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			wrong = append(wrong, e.selects(n)...)
		case *parser.AggregateExpr:
			wrong = append(wrong, has(e.labels(n.Expr), n.Grouping)...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil && n.VectorMatching.On {
				wrong = append(wrong, has(e.labels(n.LHS), n.VectorMatching.MatchingLabels)...)
				wrong = append(wrong, has(e.labels(n.RHS), n.VectorMatching.MatchingLabels)...)
			}
		}
		return nil
	})
	return wrong
}

func has(there, wanted []string) (wrong []error) {
	for _, label := range wanted {
		if !slices.Contains(there, label) {
			wrong = append(wrong, fmt.Errorf("no label %s", label))
		}
	}
	return wrong
}

func (e exported) selects(v *parser.VectorSelector) (wrong []error) {
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
		} else if !slices.ContainsFunc(slices.Collect(maps.Keys(values[m.Name])), m.Matches) {
			wrong = append(wrong, fmt.Errorf("metric %s: no %s", v.Name, m))
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

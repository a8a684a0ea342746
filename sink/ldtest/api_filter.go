package ldtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// metricFilters maps each supported filter field to its operators, its allowed values, and a
// function that reports whether a metric has a value. The documentation also lists maintainerIds,
// maintainerTeamKey, tags, unitAggregationType, versionIds, and view.
var metricFilters = map[string]struct {
	operators, values []string // allowed values; nil means any
	has               func(m Metric, value string) bool
}{
	"dataSourceKeys": {
		operators: []string{"anyOf", "notEquals"},
		has:       func(m Metric, value string) bool { return m.dataSource() == value },
	},
	"eventKeys": {
		operators: []string{"anyOf"},
		has:       func(m Metric, value string) bool { return m.EventKey == value },
	},
	"eventKind": {
		operators: []string{"equals"}, values: []string{"custom", "pageview", "click"},
		has: func(m Metric, value string) bool { return m.kind() == value },
	},
	"hasConnections": {
		operators: []string{"equals"}, values: []string{"true", "false"},
		has: func(m Metric, value string) bool { return (m.Experiments+m.Rollouts > 0) == (value == "true") },
	},
	"isNumeric": {
		operators: []string{"equals"}, values: []string{"true", "false"},
		has: func(m Metric, value string) bool { return m.Numeric == (value == "true") },
	},
	"metricUsedIn": {
		operators: []string{"equals"}, values: []string{"experiments", "guarded_rollouts", "any", "none"},
		has: func(m Metric, value string) bool {
			return map[string]bool{
				"experiments": m.Experiments > 0, "guarded_rollouts": m.Rollouts > 0,
				"any": m.Experiments+m.Rollouts > 0, "none": m.Experiments+m.Rollouts == 0,
			}[value]
		},
	},
	"query": {
		operators: []string{"equals"},
		has: func(m Metric, value string) bool {
			return strings.Contains(strings.ToLower(m.Key+"\n"+m.Name), strings.ToLower(value))
		},
	},
}

// filterClause matches a clause of a filter and the separator after it. The documentation shows
// commas and the word and as separators, and values with and without quotes.
var filterClause = regexp.MustCompile(
	`^\s*(\w+) +(\w+) +("(?:[^"\\]|\\.)*"|'[^']*'|\[(?:"(?:[^"\\]|\\.)*"|[^"\]])*\]|[^\s,"'\[\]]+)(\s*,|\s+and\s|\s*$)`)

// parseMetricFilter returns a function that reports whether a metric matches a filter, such as
//
//	eventKind equals custom,metricUsedIn equals "any" and eventKeys anyOf ["a","b"]
func parseMetricFilter(s string) (func(Metric) bool, error) {
	var clauses []func(Metric) bool
	for more := true; more; {
		parts := filterClause.FindStringSubmatch(s)
		if parts == nil {
			return nil, errors.New("must consist of clauses such as eventKind equals custom")
		}
		s, more = s[len(parts[0]):], strings.TrimSpace(parts[4]) != ""
		field, operator := parts[1], parts[2]
		f, ok := metricFilters[field]
		if !ok {
			return nil, fmt.Errorf("unknown field %s", field)
		}
		if !slices.Contains(f.operators, operator) {
			return nil, fmt.Errorf("field %s does not support operator %s", field, operator)
		}
		values, err := filterValues(parts[3], operator == "anyOf")
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", field, err)
		}
		for _, v := range values {
			if f.values != nil && !slices.Contains(f.values, v) {
				return nil, fmt.Errorf("field %s must be one of %s", field, strings.Join(f.values, ", "))
			}
		}
		clauses = append(clauses, func(m Metric) bool {
			has := slices.ContainsFunc(values, func(v string) bool { return f.has(m, v) })
			return has != (operator == "notEquals")
		})
	}
	return func(m Metric) bool {
		return !slices.ContainsFunc(clauses, func(matches func(Metric) bool) bool { return !matches(m) })
	}, nil
}

// filterValues parses a word, a quoted string, or a JSON list of strings.
func filterValues(s string, list bool) (values []string, err error) {
	switch {
	case s[0] == '[' != list:
		return nil, errors.New("anyOf requires a list, and any other operator a single value")
	case list:
		err = json.Unmarshal([]byte(s), &values)
	case s[0] == '"':
		values = make([]string, 1)
		err = json.Unmarshal([]byte(s), &values[0])
	default:
		values = []string{strings.Trim(s, "'")}
	}
	return values, err
}

package metriccheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Level is the severity of a result.
type Level int

const (
	OK      Level = iota
	Skipped       // the metric does not count events
	Warning       // the metric might not count its events
	Failure       // the metric does not count its events
)

// Result describes what Check found out about a metric.
type Result struct {
	Metric ldapi.Metric
	Level  Level
	Text   string
}

// Results returns one result per metric, or one per problem if a metric has several. The results
// are ordered by event key, metric, and severity.
func (c *Check) Results() (all []Result) {
	seen := maps.Clone(c.others)
	for name, e := range c.events {
		seen[name] = e.seen
	}
	for _, m := range c.metrics {
		e := c.events[m.EventKey]
		switch {
		case m.EventKey == "":
			all = append(all, Result{m, Skipped, "has no event key"})
		case m.Warehouse() && e.seen > 0:
			all = append(all, Result{m, Failure, fmt.Sprintf("counts the rows of a data warehouse (data source %s), "+
				"and not the events seen (%s). Create a metric for events that are sent to LaunchDarkly.",
				show(m.DataSource), preview.Number(e.seen))})
		case m.Warehouse():
			all = append(all, Result{m, Skipped, "counts the rows of a data warehouse (data source " + show(m.DataSource) + ")"})
		case e.seen == 0:
			all = append(all, Result{m, Warning, describeAbsence(m, e, seen)})
		default:
			found := slices.Concat(c.checkValue(m, e), c.checkUnits(m, e), checkFilters(m, e))
			if len(found) == 0 {
				found = []Result{{m, OK, describe(m, e)}}
			}
			slices.SortStableFunc(found, func(a, b Result) int {
				return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(a.Text, b.Text))
			})
			all = append(all, slices.CompactFunc(found, func(a, b Result) bool { return a.Text == b.Text })...)
		}
	}
	return all
}

// describe returns the number of events, and the number of events with each value, context kind,
// and property that the metric uses.
func describe(m ldapi.Metric, e *events) string {
	parts := []string{"events seen: " + preview.Number(e.seen)}
	with := func(n int, what string) {
		part := "with " + what + ": " + preview.Number(n)
		if n < e.seen && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if m.Numeric {
		with(e.values, "a metric value")
	}
	for _, unit := range m.RandomizationUnits {
		with(e.kinds[unit], "the context kind "+show(unit))
	}
	for _, f := range m.Filters {
		if f.Type == ldapi.EventProperty {
			with(e.properties[f.Attribute].usable, "the property "+show(f.Attribute))
		}
	}
	return strings.Join(parts, "; ")
}

// describeAbsence explains why there are no events for a metric. seen is the number of all events
// by name.
func describeAbsence(m ldapi.Metric, e *events, seen map[string]int) string {
	calls, reason := 0, transform.None
	for other, n := range e.reasons {
		calls += n
		if n > e.reasons[reason] {
			reason = transform.Reason(other)
		}
	}
	if calls > 0 {
		return fmt.Sprintf("never seen, because no call with this name becomes an event (calls: %s). "+
			"The most frequent reason is %s: %s.", preview.Number(calls), reason, reason.Help())
	}
	if name := closest(m.EventKey, seen); name != "" {
		return fmt.Sprintf("never seen. The closest name is %q (events seen: %s). "+
			"Change the metric's event key, because names must match exactly.", name, preview.Number(seen[name]))
	}
	return "never seen. The event might be rare, or only other programs send it."
}

// checkValue checks that a numeric metric gets numbers.
func (c *Check) checkValue(m ldapi.Metric, e *events) []Result {
	if !m.Numeric || e.values > 0 {
		return nil
	}
	problem := fmt.Sprintf("is numeric, but no event (events seen: %s) has a number at launchdarkly.metric_value (%s). ",
		preview.Number(e.seen), cmp.Or(strings.Join(c.mapping.MetricValue, ", "), "empty"))
	paths := slices.SortedFunc(maps.Keys(e.numbers), func(a, b string) int {
		return cmp.Or(cmp.Compare(e.numbers[b], e.numbers[a]), cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")),
			cmp.Compare(a, b))
	})
	if len(paths) == 0 {
		return []Result{{m, Failure, problem + "The calls contain no number under properties."}}
	}
	for i, path := range paths {
		paths[i] = show(path) + " (events: " + preview.Number(e.numbers[path]) + ")"
	}
	return []Result{{m, Failure, problem + "Add the right path: " +
		strings.Join(paths[:min(len(paths), shown)], ", ") + "."}}
}

// shown is the maximum number of paths in a result.
const shown = 3

// checkUnits checks that the events have keys for the context kinds by which the metric can be
// randomized.
func (c *Check) checkUnits(m ldapi.Metric, e *events) (found []Result) {
	provided := func(unit string) bool { return e.kinds[unit] > 0 }
	problem, level := "is randomized by ", Failure
	if slices.ContainsFunc(m.RandomizationUnits, provided) {
		problem, level = "can also be randomized by ", Warning
	}
	for _, unit := range m.RandomizationUnits {
		if provided(unit) {
			continue
		}
		_, configured := c.mapping.Contexts[unit]
		text := problem + "the context kind " + show(unit) + ", "
		switch {
		case c.mapping.Schema == 3:
			text += "but schema 3 provides only the kind user. Set launchdarkly.event_schema to 4, and add the kind to " +
				"launchdarkly.contexts."
		case configured:
			text += fmt.Sprintf("but no event (events seen: %s) has a key for it. Fix the fields of the kind in "+
				"launchdarkly.contexts.", preview.Number(e.seen))
		default:
			text += "which launchdarkly.contexts does not contain. Add the kind."
		}
		found = append(found, Result{m, level, text})
	}
	return found
}

// checkFilters checks that the events have the properties that the metric's filters use. A missing
// property is only a warning if its condition is negated or is part of a group in which not all
// conditions must hold.
func checkFilters(m ldapi.Metric, e *events) (found []Result) {
	for _, f := range m.Filters {
		text := ""
		switch f.Type {
		case ldapi.EventProperty:
			text = e.describeMissing(f.Attribute)
		case ldapi.ContextAttribute:
			text = "filters on the context attribute " + show(f.Attribute) + ", but the events contain only the keys of " +
				"contexts. Filter on a property of the event instead."
		}
		level := Failure
		if f.Negate || f.Alternative {
			level = Warning
		}
		if text != "" {
			found = append(found, Result{m, level, text})
		}
	}
	return found
}

// describeMissing explains why no event has a property that a metric filters on. It returns "" if
// any event has the property.
func (e *events) describeMissing(name string) string {
	p := e.properties[name]
	if p.usable > 0 {
		return ""
	}
	text := "filters on the property " + show(name) + ", "
	similar := closest(name, e.names)
	switch {
	case p.removed > 0:
		return text + "which launchdarkly.data removes from the events. Change launchdarkly.data to keep the property."
	case p.compound > 0:
		return text + "which is an object or an array. LaunchDarkly filters only on strings, numbers, and booleans."
	case p.nested > 0:
		return text + "which is nested at " + show(p.path) + ". LaunchDarkly filters only on the top level of properties."
	case similar != "":
		return text + fmt.Sprintf("which no event has (events seen: %s). The closest property is %s. Change the filter, "+
			"because names must match exactly.", preview.Number(e.seen), show(similar))
	}
	return text + fmt.Sprintf("which no event has (events seen: %s). Change the filter or the calls.",
		preview.Number(e.seen))
}

// show returns a name in printable form, shortened to 60 characters.
func show(name string) string { return preview.Cut(preview.Printable(name), 60) }

package ldapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// Metric is a custom metric of a project.
type Metric struct {
	Key, Name string
	EventKey  string // key of the events that the metric counts
	Numeric   bool   // whether the metric uses the events' values

	// RandomizationUnits lists the context kinds by which the metric can be analyzed. It is empty if
	// the API omits them.
	RandomizationUnits []string
	// Filters lists the conditions on the events. Groups are resolved; see [Filter.Alternative].
	Filters []Filter
	// DataSource is the key of the data source. LaunchDarkly's own is launchdarkly-hosted. See
	// [Metric.Warehouse].
	DataSource string
}

// Warehouse reports whether the metric's events come from a data warehouse. Such a metric does not
// count events that are sent to LaunchDarkly.
func (m Metric) Warehouse() bool {
	switch m.DataSource {
	case "", "launchdarkly", "launchdarkly-hosted":
		return false
	}
	return true
}

// Types of a [Filter].
const (
	EventProperty    = "eventProperty"    // a property of the event's data
	ContextAttribute = "contextAttribute" // an attribute of the context, which only SDKs send
)

// Filter is a condition of a metric on a single property or attribute.
type Filter struct {
	Type        string // EventProperty or ContextAttribute
	Attribute   string // name of the property or the attribute
	Op          string // operator, such as in
	Values      []any
	ContextKind string // for ContextAttribute
	Negate      bool   // whether the condition must not hold

	// Alternative reports whether the filter is part of a group in which not all conditions must
	// hold.
	Alternative bool
}

const (
	metricsPageSize = 50 // the maximum
	maxListings     = 3  // listings of the metrics, if the list changes meanwhile
)

var errListChanged = errors.New("the list changed while it was read")

// Metrics returns the custom metrics of a project that are not archived, oldest first. If used is
// true, it returns only those used in experiments or guarded rollouts. It never returns a partial
// list. The error has type [*Error].
func (c *Client) Metrics(ctx context.Context, project string, used bool) ([]Metric, error) {
	filter := "eventKind equals custom"
	if used {
		filter += ",metricUsedIn equals any"
	}
	r := request{
		purpose: "list metrics", path: "/api/v2/metrics/" + url.PathEscape(project), version: apiVersion,
		forbidden: "The access token's role does not allow viewing project " + project + ". The role Reader is sufficient.",
		notFound: "Project " + project + " does not exist, or the access token's role does not allow viewing it. " +
			"Fix launchdarkly.project_key or launchdarkly.api_token.",
	}
	var err error
	for range maxListings {
		var metrics []Metric
		if metrics, err = c.listMetrics(ctx, r, filter); !errors.Is(err, errListChanged) {
			return metrics, err
		}
	}
	return nil, &Error{text: r.purpose + ": " + err.Error(), advice: "Try again.", err: err}
}

// metric is a metric as the API represents it.
type metric struct {
	Key, Name, Kind, EventKey string
	IsNumeric, Archived       bool

	// AnalysisUnits is the newer name of RandomizationUnits.
	AnalysisUnits, RandomizationUnits []string

	Filters    *filter
	DataSource struct{ Key string }
}

// listMetrics reads all pages of the list. It returns errListChanged if they do not belong to the
// same list.
func (c *Client) listMetrics(ctx context.Context, r request, filter string) ([]Metric, error) {
	var all []Metric
	seen := map[string]bool{}
	for total := -1; ; {
		r.query = url.Values{
			"limit": {strconv.Itoa(metricsPageSize)}, "offset": {strconv.Itoa(len(seen))},
			"sort": {"createdAt"}, "filter": {filter},
		}
		var page struct {
			Items      []metric
			TotalCount *int // optional
		}
		if err := c.get(ctx, r, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Items {
			if seen[m.Key] {
				return nil, errListChanged
			}
			seen[m.Key] = true
			if m.Kind != "custom" || m.Archived {
				continue
			}
			units := m.AnalysisUnits
			if len(units) == 0 {
				units = m.RandomizationUnits
			}
			filters, err := m.Filters.flatten(false, false)
			if err != nil {
				return nil, &Error{text: fmt.Sprintf("%s: filters of metric %s: %v", r.purpose, m.Key, err), err: err}
			}
			all = append(all, Metric{
				Key: m.Key, Name: m.Name, EventKey: m.EventKey, Numeric: m.IsNumeric, RandomizationUnits: units,
				Filters: filters, DataSource: m.DataSource.Key,
			})
		}
		switch {
		case page.TotalCount == nil:
			if len(page.Items) < metricsPageSize {
				return all, nil
			}
		case total >= 0 && *page.TotalCount != total, len(page.Items) == 0 && len(seen) < *page.TotalCount:
			return nil, errListChanged
		case len(seen) >= *page.TotalCount:
			return all, nil
		default:
			total = *page.TotalCount
		}
	}
}

// filter is a filter as the API represents it. The values of a group are filters.
type filter struct {
	Type, Attribute, Op, ContextKind string
	Negate                           bool
	Values                           []json.RawMessage
}

// flatten returns the conditions in a filter. negate inverts the filter. alternative reports
// whether the filter is part of a group in which not all conditions must hold.
func (f *filter) flatten(negate, alternative bool) ([]Filter, error) {
	if f == nil {
		return nil, nil
	}
	negate = negate != f.Negate
	if f.Type != "group" {
		values := make([]any, len(f.Values))
		for i, v := range f.Values {
			if err := json.Unmarshal(v, &values[i]); err != nil {
				return nil, err
			}
		}
		return []Filter{{
			Type: f.Type, Attribute: f.Attribute, Op: f.Op, Values: values, ContextKind: f.ContextKind, Negate: negate,
			Alternative: alternative,
		}}, nil
	}
	// If not all conditions hold, one of the inverted conditions holds.
	alternative = alternative || (f.Op == "or") != negate && len(f.Values) > 1
	var all []Filter
	for _, v := range f.Values {
		var member filter
		err := json.Unmarshal(v, &member)
		var members []Filter
		if err == nil {
			members, err = member.flatten(negate, alternative)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, members...)
	}
	return all, nil
}

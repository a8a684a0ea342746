package ldtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Metric describes a metric of a project.
type Metric struct {
	Key         string
	Name        string // empty means Key
	Kind        string // custom, pageview, click, or trace; empty means custom
	EventKey    string
	Numeric     bool
	Units       []string // context kinds by which the metric can be analyzed; nil means user
	Filters     string   // filters in the JSON format of the API; empty means none
	DataSource  string   // key of the data source; empty means HostedDataSource
	Archived    bool
	Experiments int // number of active experiments that use the metric
	Rollouts    int // number of active guarded rollouts that use the metric
}

// HostedDataSource is the key of the data source of events that are sent to LaunchDarkly.
const HostedDataSource = "launchdarkly-hosted"

func (m Metric) name() string       { return cmp.Or(m.Name, m.Key) }
func (m Metric) kind() string       { return cmp.Or(m.Kind, "custom") }
func (m Metric) dataSource() string { return cmp.Or(m.DataSource, HostedDataSource) }

// link is a link to a resource.
type link struct {
	Href string `json:"href"`
	Type string `json:"type"`
}

// metricRep is a metric in the format of the API. The order of the fields is that of the
// documentation.
type metricRep struct {
	ExperimentCount           *int            `json:"experimentCount,omitempty"`
	ActiveExperimentCount     int             `json:"activeExperimentCount"`
	ActiveGuardedRolloutCount int             `json:"activeGuardedRolloutCount"`
	ID                        string          `json:"_id"`
	VersionID                 string          `json:"_versionId"`
	Key                       string          `json:"key"`
	Name                      string          `json:"name"`
	Kind                      string          `json:"kind"`
	Links                     map[string]link `json:"_links"`
	Tags                      []string        `json:"tags"`
	CreationDate              int64           `json:"_creationDate"`
	IsNumeric                 bool            `json:"isNumeric"`
	EventKey                  string          `json:"eventKey,omitempty"`
	RandomizationUnits        []string        `json:"randomizationUnits"`
	AnalysisUnits             []string        `json:"analysisUnits"`
	Filters                   json.RawMessage `json:"filters,omitempty"`
	DataSource                struct {
		Key string `json:"key"`
	} `json:"dataSource"`
	Archived bool `json:"archived"`
}

// render formats the metric number i of a project.
func (m Metric) render(project string, i int, expand bool) metricRep {
	rep := metricRep{
		ActiveExperimentCount: m.Experiments, ActiveGuardedRolloutCount: m.Rollouts,
		ID: fmt.Sprintf("%024x", i+1), VersionID: fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1),
		Key: m.Key, Name: m.name(), Kind: m.kind(), Tags: []string{},
		Links: map[string]link{
			"parent": {apiPath + "metrics/" + project, "application/json"},
			"self":   {apiPath + "metrics/" + project + "/" + m.Key, "application/json"},
		},
		CreationDate: 1700000000000 + int64(i)*1000,
		IsNumeric:    m.Numeric, EventKey: m.EventKey, RandomizationUnits: m.Units, Archived: m.Archived,
	}
	if rep.RandomizationUnits == nil {
		rep.RandomizationUnits = []string{"user"}
	}
	rep.AnalysisUnits = rep.RandomizationUnits
	if m.Filters != "" {
		rep.Filters = json.RawMessage(m.Filters)
	}
	rep.DataSource.Key = m.dataSource()
	if expand {
		rep.ExperimentCount = &m.Experiments
	}
	return rep
}

// metricsPage is a page of the list of metrics.
type metricsPage struct {
	Items      []metricRep     `json:"items"`
	Links      map[string]link `json:"_links"`
	TotalCount int             `json:"totalCount"`
}

// metricsQuery is a query for a page of metrics.
type metricsQuery struct {
	limit, offset int
	matches       func(Metric) bool
	byName, down  bool // the order; without byName, the metrics are ordered by creation
	expand        bool
}

func parseMetricsQuery(query url.Values) (metricsQuery, error) {
	q := metricsQuery{limit: 20, matches: func(Metric) bool { return true }}
	for name, values := range query {
		var err error
		switch value := values[0]; name {
		case "limit":
			q.limit, err = number(value, 1, 50)
		case "offset":
			q.offset, err = number(value, 0, 1<<30)
		case "sort":
			field, down := strings.CutPrefix(value, "-")
			q.byName, q.down, err = field == "name", down, oneOf([]string{field}, "createdAt", "name")
		case "expand":
			q.expand, err = true, oneOf(values, "experimentCount")
		case "filter":
			q.matches, err = parseMetricFilter(value)
		default:
			err = errors.New("unknown parameter")
		}
		if err == nil && len(values) > 1 {
			err = errors.New("must not be repeated")
		}
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// listMetrics returns a page of a project's metrics.
func (a *API) listMetrics(project string, query url.Values, environments []Environment) (any, *denial) {
	if !slices.ContainsFunc(environments, func(e Environment) bool { return e.Project == project }) {
		return nil, unknownResource
	}
	q, err := parseMetricsQuery(query)
	if err != nil {
		return nil, &denial{http.StatusBadRequest, err.Error()}
	}
	metrics := a.Metrics[project]
	var found []int // indexes
	for i, m := range metrics {
		if q.matches(m) {
			found = append(found, i)
		}
	}
	if q.byName {
		slices.SortStableFunc(found, func(i, j int) int { return cmp.Compare(metrics[i].name(), metrics[j].name()) })
	}
	if q.down {
		slices.Reverse(found)
	}
	page := metricsPage{Items: []metricRep{}, TotalCount: len(found), Links: map[string]link{}}
	for _, i := range found[min(q.offset, len(found)):min(q.offset+q.limit, len(found))] {
		page.Items = append(page.Items, metrics[i].render(project, i, q.expand))
	}
	to := func(name string, offset int) {
		query.Set("limit", strconv.Itoa(q.limit))
		query.Set("offset", strconv.Itoa(offset))
		page.Links[name] = link{apiPath + "metrics/" + project + "?" + query.Encode(), "application/json"}
	}
	to("self", q.offset)
	to("first", 0)
	to("last", max(len(found)-1, 0)/q.limit*q.limit)
	if q.offset+q.limit < len(found) {
		to("next", q.offset+q.limit)
	}
	if q.offset > 0 {
		to("prev", max(q.offset-q.limit, 0))
	}
	return page, nil
}

// number parses an integer from low to high.
func number(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("must be an integer from %d to %d", low, high)
	}
	return n, nil
}

package ldtest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// count adds the events of an accepted request that is not a duplicate. The caller must hold the
// Server's lock.
func (a *API) count(r *arrival, environments []Environment) {
	to, names := parseRoute(r.Path)
	i := slices.IndexFunc(environments, func(e Environment) bool {
		return to == clientSide && e.ClientSideID == names[0] ||
			to == metricImport && e.Project == names[0] && e.Key == names[1]
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counted == nil {
		a.counted = map[counted]int64{}
	}
	for event := range r.processed() {
		if key, _ := text(member(event, "key")); !slices.Contains(a.Uncounted, key) {
			a.counted[counted{
				environments[i].Project, environments[i].Key, key, r.Time.UTC().Truncate(time.Hour),
			}]++
		}
	}
}

// usageRep is the response of the usage API. Each point contains the field time and a number for
// each series, in a field with the index of the series.
type usageRep struct {
	Links    map[string]link     `json:"_links"`
	Metadata []map[string]string `json:"metadata"`
	Series   []map[string]int64  `json:"series"`
}

// usageQuery is a query of the usage API.
type usageQuery struct {
	from, to    time.Time
	granularity string
	toDate      bool // whether each point contains the number since the start of the month
	filters     map[string][]string
	groupBy     []string
}

// usage returns the number of events counted.
func (a *API) usage(query url.Values, environments []Environment) (any, *denial) {
	q, err := parseUsageQuery(query)
	if err != nil {
		return nil, &denial{http.StatusBadRequest, err.Error()}
	}
	for _, project := range q.filters["projectKey"] {
		keys := q.filters["environmentKey"]
		if !slices.ContainsFunc(environments, func(e Environment) bool {
			return e.Project == project && (len(keys) == 0 || slices.Contains(keys, e.Key))
		}) {
			return nil, unknownResource
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rep := usageRep{
		Links:    map[string]link{"self": {apiPath + "usage/experimentation-events?" + query.Encode(), "application/json"}},
		Metadata: []map[string]string{}, Series: []map[string]int64{},
	}
	index := map[string]string{} // index of each series
	order := slices.SortedFunc(maps.Keys(a.counted), func(x, y counted) int { return cmp.Compare(x.eventKey, y.eventKey) })
	for start := q.bucket(q.from); start.Before(q.to); start = q.next(start) {
		point := map[string]int64{}
		for _, c := range order {
			since := start
			if q.toDate {
				since = time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, time.UTC)
			}
			if c.hour.Before(since) || !c.hour.Before(q.next(start)) || !q.selects(c) {
				continue
			}
			group := c.group(q.groupBy, environments)
			id := fmt.Sprint(group)
			if index[id] == "" {
				index[id] = strconv.Itoa(len(rep.Metadata))
				rep.Metadata = append(rep.Metadata, group)
			}
			point[index[id]] += a.counted[c]
		}
		if len(point) > 0 {
			point["time"] = start.UnixMilli()
			rep.Series = append(rep.Series, point)
		}
	}
	return rep, nil
}

// group returns the values of the fields that the events are grouped by.
func (c counted) group(fields []string, environments []Environment) map[string]string {
	group := map[string]string{}
	for _, field := range fields {
		switch field {
		case "eventKey":
			group[field] = c.eventKey
		case "eventKind":
			group[field] = "custom"
		case "environmentId":
			for _, e := range environments {
				if e.Project == c.project && e.Key == c.environment {
					group[field] = e.ClientSideID
				}
			}
		}
	}
	return group
}

// selects reports whether the query's filters select an event.
func (q usageQuery) selects(c counted) bool {
	for name, value := range map[string]string{
		"projectKey": c.project, "environmentKey": c.environment, "eventKey": c.eventKey, "eventKind": "custom",
	} {
		if f := q.filters[name]; len(f) > 0 && !slices.Contains(f, value) {
			return false
		}
	}
	return true
}

// bucket returns the start of the bucket that contains t.
func (q usageQuery) bucket(t time.Time) time.Time {
	switch q.granularity {
	case "hourly":
		return t.Truncate(time.Hour)
	case "daily":
		return t.Truncate(24 * time.Hour)
	}
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// next returns the start of the next bucket.
func (q usageQuery) next(start time.Time) time.Time {
	switch q.granularity {
	case "hourly":
		return start.Add(time.Hour)
	case "daily":
		return start.AddDate(0, 0, 1)
	}
	return start.AddDate(0, 1, 0)
}

func parseUsageQuery(query url.Values) (usageQuery, error) {
	now := time.Now().UTC()
	q := usageQuery{
		from: time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), to: now, toDate: true, granularity: "daily",
		filters: map[string][]string{},
	}
	for name, values := range query {
		var err error
		switch value := values[0]; name {
		case "projectKey", "environmentKey", "eventKey", "eventKind":
			q.filters[name] = values
		case "groupBy":
			q.groupBy = values
			err = oneOf(values, "environmentId", "eventKey", "eventKind")
		case "from":
			q.from, err = unixMilli(values)
		case "to":
			q.to, err = unixMilli(values)
		case "aggregationType":
			q.toDate, err = value == "month_to_date", oneOf(values, "month_to_date", "incremental")
		case "granularity":
			q.granularity, err = value, oneOf(values, "daily", "hourly", "monthly")
		default:
			err = errors.New("unknown parameter")
		}
		if err == nil && len(values) > 1 && len(q.filters[name]) == 0 && name != "groupBy" {
			err = errors.New("must not be repeated")
		}
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case len(q.filters["environmentKey"]) > 0 && len(q.filters["projectKey"]) != 1:
		return q, errors.New("environmentKey: requires exactly one projectKey")
	case q.granularity == "monthly" && !q.toDate:
		return q, errors.New("granularity: monthly requires aggregationType month_to_date")
	case q.from.After(q.to):
		return q, errors.New("from: must not be after to")
	case q.to.Sub(q.from) > 365*24*time.Hour:
		return q, errors.New("from: must be at most 365 days before to")
	}
	return q, nil
}

func oneOf(values []string, allowed ...string) error {
	for _, v := range values {
		if !slices.Contains(allowed, v) {
			return errors.New("must be one of " + strings.Join(allowed, ", "))
		}
	}
	return nil
}

// unixMilli parses a time in Unix milliseconds. It rejects small numbers, which are probably
// seconds.
func unixMilli(values []string) (time.Time, error) {
	ms, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || ms < 100_000_000_000 {
		return time.Time{}, errors.New("must be a time in Unix milliseconds")
	}
	return time.UnixMilli(ms).UTC(), nil
}

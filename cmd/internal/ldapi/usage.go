package ldapi

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"
)

// UsageQuery selects the events of an environment that LaunchDarkly received from From until just
// before To.
type UsageQuery struct {
	Project, Environment string
	From, To             time.Time // at most 365 days apart
}

// Usage returns the number of events that LaunchDarkly counted, by event key and by the start of
// the hour (UTC). Hours without events are absent. The API is in beta, and
// its documentation does not fully define which events count. The error has type [*Error].
func (c *Client) Usage(ctx context.Context, q UsageQuery) (map[string]map[time.Time]int64, error) {
	const advice = "Fix launchdarkly.project_key, launchdarkly.environment_key, or launchdarkly.api_token."
	r := request{
		purpose: "get counted events", path: "/api/v2/usage/experimentation-events", version: "beta",
		query: url.Values{
			"projectKey": {q.Project}, "environmentKey": {q.Environment}, "groupBy": {"eventKey"}, "eventKind": {"custom"},
			"aggregationType": {"incremental"}, "granularity": {"hourly"},
			"from": {strconv.FormatInt(q.From.UnixMilli(), 10)}, "to": {strconv.FormatInt(q.To.UnixMilli(), 10)},
		},
		forbidden: "The access token's role does not allow viewing the account's usage, or LaunchDarkly does not offer " +
			"this beta API to the account. The role Reader is sufficient.",
		notFound: "Project " + q.Project + " or environment " + q.Environment + " does not exist, or the access token's " +
			"role does not allow viewing it. " + advice,
	}
	// A point contains the field time, in Unix milliseconds, and a number for each series. The name of
	// the field is the index of the series in Metadata.
	var response struct {
		Metadata *[]struct{ EventKey *string }
		Series   *[]map[string]float64
	}
	if err := c.get(ctx, r, &response); err != nil {
		return nil, err
	}
	invalid := func(text string) error {
		return &Error{text: r.purpose + ": unexpected response: " + text, advice: proxyAdvice, err: errors.New(text)}
	}
	if response.Metadata == nil || response.Series == nil {
		return nil, invalid("metadata or series is missing")
	}
	for _, point := range *response.Series {
		// A point's time can be before From, because it is the start of an hour.
		if at := time.UnixMilli(int64(point["time"])); at.Before(q.From.Add(-time.Hour)) || at.After(q.To) {
			return nil, invalid("a point has no time within the period")
		}
	}
	counts := map[string]map[time.Time]int64{}
	for i, series := range *response.Metadata {
		if series.EventKey == nil {
			return nil, invalid("a series has no event key")
		}
		hours := counts[*series.EventKey]
		if hours == nil {
			hours = map[time.Time]int64{}
			counts[*series.EventKey] = hours
		}
		for _, point := range *response.Series {
			at := time.UnixMilli(int64(point["time"])).UTC()
			if n := int64(point[strconv.Itoa(i)]); n != 0 && !at.Before(q.From) && at.Before(q.To) {
				hours[at.Truncate(time.Hour)] += n
			}
		}
	}
	return counts, nil
}

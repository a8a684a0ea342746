package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// hourly is the PromQL expression for the events delivered in the last hour, by name. %[1]s is the
// selector of the counters.
//
// The increase function extrapolates: for 10,000 events delivered at once, it returns 10,084 if the
// scrape interval is 30 s. The difference between the last sample in the hour and the last one in
// the hour before is exact, and consecutive hours neither overlap nor leave a gap. A counter that did
// not exist in the hour before belongs to a new replica and began at 0, so its last sample is exact.
// The increase function therefore applies only to counters that were reset because a replica
// restarted.
const hourly = `sum by (event) (` +
	`(last_over_time(%[1]s[1h]) - last_over_time(%[1]s[1h] offset 1h)) unless (resets(%[1]s[2h]) > 0) ` +
	`or (last_over_time(%[1]s[1h]) unless last_over_time(%[1]s[1h] offset 1h) unless (resets(%[1]s[1h]) > 0)) ` +
	`or increase(%[1]s[1h]))`

// queryTimeout is generous, because a query can cover months and 200 names of many replicas.
const queryTimeout = 2 * time.Minute

// Prometheus returns the deliveries of a group in the given hours, from the Prometheus at a base URL.
// Hours without samples are incomplete. It is an error if no hour has samples.
func Prometheus(ctx context.Context, base, group string, hours []time.Time) (d Deliveries, err error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return d, errors.New("--prometheus: must be a URL, such as http://prometheus:9090") // it can contain a password
	}
	end := hours[len(hours)-1].Add(time.Hour)
	selector := consumer.DeliveredMetric + "{group=" + strconv.Quote(group) + "}"
	query := u.JoinPath("api/v1/query_range")
	query.RawQuery = url.Values{
		"query": {fmt.Sprintf(hourly, selector)}, "step": {"3600"},
		"start": {unix(hours[0].Add(time.Hour))}, "end": {unix(end)},
	}.Encode()
	var response struct {
		Data struct {
			Result []struct {
				Metric struct{ Event string }
				Values [][2]any // Unix time in seconds, and the value as a string
			}
		}
	}
	if err := getJSON(ctx, http.DefaultTransport, query, queryTimeout, &response); err != nil {
		return d, fmt.Errorf("query Prometheus at %s: %w", u.Host, err)
	}
	events := map[int64]map[string]int64{} // by start of the hour and name
	for _, series := range response.Data.Result {
		for _, sample := range series.Values {
			at, _ := sample[0].(float64)
			text, _ := sample[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
				return d, fmt.Errorf("query Prometheus at %s: invalid value %q", u.Host, text)
			}
			hour := int64(at) - 3600
			if events[hour] == nil {
				events[hour] = map[string]int64{}
			}
			events[hour][series.Metric.Event] = int64(math.Round(value))
		}
	}
	if len(events) == 0 {
		return d, fmt.Errorf("query Prometheus at %s: no samples of %s from %s to %s; "+
			"check whether Prometheus scrapes the replicas", u.Host, selector,
			hours[0].Format(time.RFC3339), end.Format(time.RFC3339))
	}
	for _, hour := range hours {
		if events[hour.Unix()] == nil {
			d.incomplete(hour, "Prometheus has no samples")
			continue
		}
		d.Hours = append(d.Hours, consumer.DeliveredHour{Hour: hour, Events: events[hour.Unix()]})
	}
	return d, nil
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

package ldtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	metricsPath = "/api/v2/metrics/sample-project"
	usagePath   = "/api/v2/usage/experimentation-events"
)

// get requests a resource of the REST API with the right token and the beta header. edit can change
// the request; nil changes nothing.
func get(t *testing.T, ld *ldtest.Server, path string, edit func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header.Set("Authorization", ldtest.APIToken)
	r.Header.Set("LD-API-Version", "beta")
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	ld.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type %q", path, got)
	}
	return w
}

// decode decodes a response with status 200.
func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (body T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	return body
}

type metricsPage struct {
	Items []struct {
		Key, Name, Kind    string
		RandomizationUnits []string
		DataSource         struct{ Key string }
	}
	Links map[string]struct{ Href string } `json:"_links"`
	Total int                              `json:"totalCount"`
}

func (p metricsPage) keys() string {
	var keys []string
	for _, m := range p.Items {
		keys = append(keys, m.Key)
	}
	return strings.Join(keys, " ")
}

// withMetrics returns a fake whose project has these metrics.
func withMetrics(metrics ...ldtest.Metric) *ldtest.Server {
	return ldtest.New(ldtest.Config{API: &ldtest.API{Metrics: map[string][]ldtest.Metric{"sample-project": metrics}}})
}

func TestAPIDeniesWithTheDocumentedStatusAndCode(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		path string
		edit func(*http.Request)
		want int
		code string
	}{
		{metricsPath, set("Authorization", ""), 401, "unauthorized"},
		{metricsPath, set("Authorization", "Bearer "+ldtest.APIToken), 401, "unauthorized"},
		{metricsPath, set("Authorization", ldtest.Sample.Token), 403, "forbidden"},
		{"/api/v2/metrics/other", nil, 404, "not_found"},
		{"/api/v2/metrics/", nil, 404, "not_found"},
		{metricsPath + "/key", nil, 404, "not_found"},
		{"/api/v2/flags/sample-project", nil, 404, "not_found"},
		{metricsPath, func(r *http.Request) { r.Method = http.MethodPost }, 405, "method_not_allowed"},
		{usagePath, set("LD-API-Version", "20240415"), 403, "forbidden"},
		{usagePath, func(r *http.Request) { r.Header.Del("LD-API-Version") }, 403, "forbidden"},
		{usagePath + "?projectKey=other", nil, 404, "not_found"},
		{usagePath + "?projectKey=sample-project&environmentKey=other", nil, 404, "not_found"},
		{metricsPath + "?limit=51", nil, 400, "invalid_request"},
		{metricsPath + "?limit=0", nil, 400, "invalid_request"},
		{metricsPath + "?limit=a", nil, 400, "invalid_request"},
		{metricsPath + "?limit=1&limit=2", nil, 400, "invalid_request"},
		{metricsPath + "?offset=-1", nil, 400, "invalid_request"},
		{metricsPath + "?sort=key", nil, 400, "invalid_request"},
		{metricsPath + "?expand=experiments", nil, 400, "invalid_request"},
		{metricsPath + "?archived=true", nil, 400, "invalid_request"},
		{metricsPath + "?limit=%", nil, 400, "invalid_request"},
		{usagePath + "?groupBy=userKey", nil, 400, "invalid_request"},
		{usagePath + "?groupBy=eventKey&groupBy=projectId", nil, 400, "invalid_request"},
		{usagePath + "?granularity=weekly", nil, 400, "invalid_request"},
		{usagePath + "?granularity=monthly&aggregationType=incremental", nil, 400, "invalid_request"},
		{usagePath + "?aggregationType=rolling_30d", nil, 400, "invalid_request"},
		{usagePath + "?environmentKey=test", nil, 400, "invalid_request"},
		{usagePath + "?environmentKey=test&projectKey=sample-project&projectKey=other", nil, 400, "invalid_request"},
		{usagePath + "?from=1769853600", nil, 400, "invalid_request"}, // seconds
		{usagePath + "?from=2026-01-31T10:00:00Z", nil, 400, "invalid_request"},
		{usagePath + "?from=1769853600001&to=1769853600000", nil, 400, "invalid_request"},
		{usagePath + "?from=1700000000000&to=1769853600000", nil, 400, "invalid_request"},
		{usagePath + "?to=1769853600000&to=1769853600000", nil, 400, "invalid_request"},
		{usagePath + "?project=sample-project", nil, 400, "invalid_request"},
	} {
		w := get(t, withMetrics(), c.path, c.edit)
		var body struct{ Code, Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Errorf("%s: %v", c.path, err)
		}
		if w.Code != c.want || body.Code != c.code || body.Message == "" {
			t.Errorf("%s: %d %+v, want %d %s", c.path, w.Code, body, c.want, c.code)
		}
	}
}

func TestServerWithoutAPIHasNoSuchPaths(t *testing.T) {
	w := get(t, ldtest.New(ldtest.Config{}), metricsPath, nil)
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d", w.Code)
	}
}

func TestMetricsAreListedInPages(t *testing.T) {
	var metrics []ldtest.Metric
	var all []string
	for i := range 45 {
		key := "m" + strconv.Itoa(i)
		metrics, all = append(metrics, ldtest.Metric{Key: key}), append(all, key)
	}
	ld := withMetrics(metrics...)
	page := decode[metricsPage](t, get(t, ld, metricsPath, nil))
	if want := strings.Join(all[:20], " "); page.keys() != want || page.Total != 45 {
		t.Errorf("first page of %d: %s", page.Total, page.keys())
	}
	first := page.Items[0]
	if first.Name != "m0" || first.Kind != "custom" || first.DataSource.Key != "launchdarkly-hosted" ||
		!slices.Equal(first.RandomizationUnits, []string{"user"}) {
		t.Errorf("defaults: %+v", first)
	}
	var got []string
	next := metricsPath + "?limit=15"
	for next != "" {
		page := decode[metricsPage](t, get(t, ld, next, nil))
		got = append(got, strings.Fields(page.keys())...)
		next = page.Links["next"].Href
	}
	if !slices.Equal(got, all) {
		t.Errorf("by links: %v", got)
	}
	page = decode[metricsPage](t, get(t, ld, metricsPath+"?limit=50&offset=43", nil))
	if page.keys() != "m43 m44" || page.Links["prev"].Href == "" {
		t.Errorf("last page: %s, %v", page.keys(), page.Links)
	}
	if page = decode[metricsPage](t, get(t, ld, metricsPath+"?offset=45", nil)); page.Items == nil || len(page.Items) > 0 {
		t.Errorf("after the last page: %+v", page)
	}
}

func TestMetricsAreSorted(t *testing.T) {
	ld := withMetrics(ldtest.Metric{Key: "b"}, ldtest.Metric{Key: "z", Name: "a"}, ldtest.Metric{Key: "c"})
	for sort, want := range map[string]string{
		"createdAt": "b z c", "-createdAt": "c z b", "name": "z b c", "-name": "c b z",
	} {
		if got := decode[metricsPage](t, get(t, ld, metricsPath+"?sort="+sort, nil)).keys(); got != want {
			t.Errorf("%s: %s, want %s", sort, got, want)
		}
	}
}

func TestMetricsAreFiltered(t *testing.T) {
	ld := withMetrics(
		ldtest.Metric{Key: "order", EventKey: "Order Completed", Numeric: true, Experiments: 1},
		ldtest.Metric{Key: "signup", EventKey: "a,b", Rollouts: 1},
		ldtest.Metric{Key: "page", Kind: "pageview", Experiments: 1},
		ldtest.Metric{Key: "warehouse", Name: "Orders", EventKey: "c", DataSource: "snowflake"},
	)
	for filter, want := range map[string]string{
		"eventKind equals custom":                               "order signup warehouse",
		`eventKind equals "custom",metricUsedIn equals "any"`:   "order signup",
		"eventKind equals 'custom' and metricUsedIn equals any": "order signup",
		"metricUsedIn equals none":                              "warehouse",
		"metricUsedIn equals experiments":                       "order page",
		" metricUsedIn equals guarded_rollouts ":                "signup",
		"hasConnections equals false":                           "warehouse",
		"isNumeric equals true":                                 "order",
		"isNumeric equals false, eventKind equals pageview":     "page",
		`eventKeys anyOf ["Order Completed", "a,b"]`:            "order signup",
		`eventKeys anyOf []`:                                    "",
		`dataSourceKeys anyOf ["launchdarkly-hosted"]`:          "order signup page",
		"dataSourceKeys notEquals launchdarkly-hosted":          "warehouse",
		"query equals ORDER":                                    "order warehouse",

		"":                                  "400",
		"eventKind":                         "400",
		"eventKind equals":                  "400",
		"eventKind equals other":            "400",
		"eventKind contains custom":         "400",
		`eventKind equals ["custom"]`:       "400",
		"eventKind=custom":                  "400",
		"eventkind equals custom":           "400",
		"kind equals custom":                "400",
		"isNumeric equals yes":              "400",
		"metricUsedIn equals any,":          "400",
		"metricUsedIn equals any or a":      "400",
		"eventKeys anyOf a":                 "400",
		"eventKeys anyOf [a]":               "400",
		`eventKeys anyOf ["a"`:              "400",
		`tags contains ["a"]`:               "400", // documented, but not supported by the fake
		"eventKind equals 'custom":          "400",
		`query equals "a\x"`:                "400",
		"eventKind equals custom isNumeric": "400",
	} {
		w := get(t, ld, metricsPath+"?filter="+url.QueryEscape(filter), nil)
		got := strconv.Itoa(w.Code)
		if w.Code == http.StatusOK {
			got = decode[metricsPage](t, w).keys()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
}

func TestRateLimitAppliesToAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ld := ldtest.New(ldtest.Config{API: &ldtest.API{RateLimit: 2}})
		time.Sleep(3 * time.Second)
		reset := strconv.FormatInt(time.Now().Add(7*time.Second).UnixMilli(), 10)
		for i, want := range []int{200, 200, 429, 429} {
			w := get(t, ld, metricsPath, nil)
			if w.Code != want || w.Header().Get("X-Ratelimit-Reset") != reset ||
				w.Header().Get("X-Ratelimit-Route-Remaining") != strconv.Itoa(max(1-i, 0)) {
				t.Errorf("request %d: %d, %v", i+1, w.Code, w.Header())
			}
		}
		time.Sleep(7 * time.Second)
		if w := get(t, ld, metricsPath, nil); w.Code != 200 {
			t.Errorf("in the next window: %d", w.Code)
		}
	})
}

func TestScriptedFaultsOfTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &ldtest.API{}
		ld := ldtest.New(ldtest.Config{API: api})
		ld.Down(ldtest.Fault{Status: 500}) // does not affect the API
		api.Script(ldtest.Fault{Status: 503}, ldtest.Fault{}, ldtest.Fault{Status: 429, RetryAfter: "3"},
			ldtest.Fault{Status: 429, RetryIn: 20 * time.Second}, ldtest.Fault{Kind: ldtest.Slow, For: time.Second})
		start := time.Now()
		for i, want := range []struct {
			status            int
			retryAfter, reset string
		}{
			{status: 503}, {200, "", "946684810000"}, {429, "3", ""}, {429, "", "946684820000"}, {200, "", "946684810000"},
			{200, "", "946684810000"},
		} {
			h := get(t, ld, metricsPath, nil)
			if h.Code != want.status || h.Header().Get("Retry-After") != want.retryAfter ||
				h.Header().Get("X-Ratelimit-Reset") != want.reset {
				t.Errorf("request %d: %d, %v", i+1, h.Code, h.Header())
			}
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v", got)
		}
	})
}

// usage is a response of the usage API.
type usage struct {
	Metadata []map[string]string
	Series   []map[string]int64
}

// sum returns the numbers by the metadata of their series and the time of their point.
func (u usage) sum() map[string]int64 {
	all := map[string]int64{}
	for _, point := range u.Series {
		for i, series := range u.Metadata {
			if n, ok := point[strconv.Itoa(i)]; ok {
				at := time.UnixMilli(point["time"]).UTC().Format(time.DateTime)
				all[at+" "+series["eventKey"]+series["environmentId"]+series["eventKind"]] += n
			}
		}
	}
	return all
}

func TestUsageCountsWhatTheServerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := ldtest.Environment{ClientSideID: "second", Project: "sample-project", Key: "second"}
		ld := ldtest.New(ldtest.Config{
			API: &ldtest.API{Uncounted: []string{"lost"}}, Environments: []ldtest.Environment{ldtest.Sample, second},
		})
		send := func(id, environment string, keys ...string) {
			t.Helper()
			var events []string
			for _, key := range keys {
				events = append(events, strings.Replace(event3, "Order Completed", key, 1))
			}
			r := bulk(t, "http://ld", id, "["+strings.Join(events, ",")+"]")
			r.URL.Path = "/events/bulk/" + environment
			w := httptest.NewRecorder()
			ld.ServeHTTP(w, r)
		}
		sample := ldtest.Sample.ClientSideID
		send(id1, sample, "a", "a", "b", "lost", "") // the event without a key is dropped
		send(id1, sample, "a", "a", "b", "lost", "") // a duplicate
		send(uuid.NewString(), "second", "a")
		send(uuid.NewString(), "unknown", "a")
		ld.Script(ldtest.Fault{Status: 503}, ldtest.Fault{Status: 503, Accepted: true})
		send(uuid.NewString(), sample, "a")
		send(uuid.NewString(), sample, "a")
		time.Sleep(time.Hour + time.Minute)
		send(uuid.NewString(), sample, "b")
		time.Sleep(23 * time.Hour)
		send(uuid.NewString(), sample, "b")

		const project = "projectKey=sample-project"
		for query, want := range map[string]map[string]int64{
			"granularity=hourly&aggregationType=incremental&groupBy=eventKey&environmentKey=test&" + project: {
				"2000-01-01 00:00:00 a": 3, "2000-01-01 00:00:00 b": 1, "2000-01-01 01:00:00 b": 1,
				"2000-01-02 00:00:00 b": 1,
			},
			"granularity=hourly&aggregationType=incremental&eventKey=b&from=946684800000&to=946688400000": {
				"2000-01-01 00:00:00 ": 1,
			},
			"granularity=hourly&aggregationType=incremental&eventKey=b&from=946688400000&to=946692000000": {
				"2000-01-01 01:00:00 ": 1,
			},
			"granularity=hourly&aggregationType=incremental&from=946695600000&to=946699200000": {},
			"aggregationType=incremental&groupBy=environmentId&groupBy=eventKind": {
				"2000-01-01 00:00:00 " + sample + "custom": 5, "2000-01-01 00:00:00 secondcustom": 1,
				"2000-01-02 00:00:00 " + sample + "custom": 1,
			},
			"groupBy=eventKey&environmentKey=test&" + project: {
				"2000-01-01 00:00:00 a": 3, "2000-01-01 00:00:00 b": 2,
				"2000-01-02 00:00:00 a": 3, "2000-01-02 00:00:00 b": 3,
			},
			"granularity=monthly&eventKey=a&eventKey=b&eventKind=custom": {"2000-01-01 00:00:00 ": 7},
			"eventKind=click": {},
		} {
			got := decode[usage](t, get(t, ld, usagePath+"?"+query, nil))
			if got.Metadata == nil || got.Series == nil || !reflect.DeepEqual(got.sum(), want) {
				t.Errorf("%s:\ngot  %v\nwant %v", query, got.sum(), want)
			}
		}
	})
}

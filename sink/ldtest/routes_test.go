package ldtest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestRejectedRequestHasNoEffectAndAReason(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	path := func(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }
	method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	const id, project, key = "5f0c1d2e3b4a59687766554f", "sample-project", "test"
	one := "[" + event3 + "]"

	for _, c := range []struct {
		name    string
		request func(t *testing.T, url, id, body string) *http.Request
		body    string
		edit    func(*http.Request)
		want    int
	}{
		{"unknown ID", bulk, one, path("/events/bulk/5f0c1d2e3b4a596877665540"), 404},
		{"no ID", bulk, one, path("/events/bulk/"), 404},
		{"trailing slash", bulk, one, path("/events/bulk/" + id + "/"), 404},
		{"double slash", bulk, one, path("//events/bulk/" + id), 404},
		{"dots", bulk, one, path("/events/x/../bulk/" + id), 404},
		{"server-side path", bulk, one, path("/bulk"), 404},
		{"root", bulk, one, path("/"), 404},
		{"GET", bulk, "", method("GET"), 405},
		{"PUT", bulk, one, method("PUT"), 405},
		{"POST to goals", bulk, one, path("/sdk/goals/" + id), 405},
		{"unknown encoding", bulk, one, set("Content-Encoding", "br"), 400},
		{"not gzip", bulk, one, set("Content-Encoding", "gzip"), 400},
		{"truncated gzip", bulk, zip(one)[:40], set("Content-Encoding", "gzip"), 400},
		{"gzip with a tail", bulk, zip(one) + "x", set("Content-Encoding", "gzip"), 400},
		{"gzip not declared", bulk, zip(one), nil, 400},
		{"too large", bulk, "[" + event3 + strings.Repeat(" ", 1000) + "]", nil, 413},
		{"too large when decompressed", bulk, zip("[" + event3 + strings.Repeat(" ", 1000) + "]"),
			set("Content-Encoding", "gzip"), 413},
		{"empty", bulk, "", nil, 400},
		{"one object", bulk, event3, nil, 400},
		{"null", bulk, "null", nil, 400},
		{"truncated", bulk, one[:len(one)-1], nil, 400},
		{"two arrays", bulk, one + one, nil, 400},
		{"byte-order mark", bulk, "\ufeff" + one, nil, 400},
		{"not UTF-8", bulk, strings.Replace(one, "Order", "\xff", 1), nil, 400},
		{"index event", bulk, "[" + event3 + `,{"kind":"index"}]`, nil, 400},
		{"no kind", bulk, `[{"key":"k"}]`, nil, 400},
		{"kind in another case", bulk, `[{"Kind":"custom"}]`, nil, 400},
		{"an array inside", bulk, "[[" + event3 + "]]", nil, 400},
		{"a string inside", bulk, `["custom"]`, nil, 400},

		{"no token", metricImport, one, set("Authorization", ""), 401},
		{"Bearer", metricImport, one, set("Authorization", "Bearer "+ldtest.Sample.Token), 401},
		{"another project", metricImport, one, path("/v2/event-data-import/other/" + key), 401},
		{"another environment", metricImport, one, path("/v2/event-data-import/" + project + "/other"), 401},
		{"no environment", metricImport, one, path("/v2/event-data-import/" + project), 404},
		{"empty project", metricImport, one, path("/v2/event-data-import//" + key), 404},
		{"import with a slash", metricImport, one, path("/v2/event-data-import/" + project + "/" + key + "/"), 404},
		{"chunked", metricImport, one, func(r *http.Request) { r.ContentLength = -1 }, 411},
		{"schema 3", metricImport, one, set("X-LaunchDarkly-Event-Schema", "3"), 406},
		{"no schema", metricImport, one, func(r *http.Request) { r.Header.Del("X-LaunchDarkly-Event-Schema") }, 406},
		{"Go's User-Agent", metricImport, one, set("User-Agent", "Go-http-client/1.1"), 400},
		{"no version", metricImport, one, set("User-Agent", "MetricImport-Acme-int/"), 400},
		{"no company", metricImport, one, set("User-Agent", "MetricImport--int/1"), 400},
		{"PUT to import", metricImport, one, method("PUT"), 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			ld, url := serve(t, ldtest.Config{MaxBytes: 1000})
			r := c.request(t, url, id1, c.body)
			if c.edit != nil {
				c.edit(r)
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
			var reason struct{ Code, Message string }
			if err := json.NewDecoder(resp.Body).Decode(&reason); err != nil || reason.Code == "" || reason.Message == "" {
				t.Errorf("body: %+v, %v", reason, err)
			}
			seen := ld.Requests()[0]
			if report := ld.Report(); report.Accepted != 0 || seen.Accepted || seen.Status != c.want ||
				seen.Rejection != reason.Message {
				t.Errorf("recorded as %+v, %d events accepted", seen, report.Accepted)
			}
			// A rejection does not use up the payload ID.
			if got := status(t, bulk(t, url, uuid.NewString(), one)); got != 202 {
				t.Errorf("a correct request afterwards: %d", got)
			}
		})
	}
}

func TestBodyOfMaxBytesIsRejectedAndOneByteLessIsAccepted(t *testing.T) {
	_, url := serve(t, ldtest.Config{})
	body := "[" + event3 + strings.Repeat(" ", 10_000_000-len(event3)-2) + "]"
	if got := status(t, bulk(t, url, uuid.NewString(), body)); got != 413 {
		t.Errorf("10,000,000 bytes: %d", got)
	}
	if got := status(t, bulk(t, url, uuid.NewString(), strings.Replace(body, " ]", "]", 1))); got != 202 {
		t.Errorf("9,999,999 bytes: %d", got)
	}
}

func TestClientSideAcceptsAChunkedBody(t *testing.T) {
	_, url := serve(t, ldtest.Config{})
	r := bulk(t, url, id1, "["+event3+"]")
	r.ContentLength = -1
	if got := status(t, r); got != 202 {
		t.Errorf("status %d", got)
	}
}

func TestHeadOfGoalsReportsWhetherAnIDIsKnown(t *testing.T) {
	_, url := serve(t, ldtest.Config{})
	for id, want := range map[string]int{ldtest.Sample.ClientSideID: 200, "0123456789abcdef01234567": 404} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, url+"/sdk/goals/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := status(t, r); got != want {
			t.Errorf("%s: %d, want %d", id, got, want)
		}
	}
}

func TestViolationsAreAcceptedAndReported(t *testing.T) {
	del := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	for _, c := range []struct {
		rule string
		body string
		edit func(*http.Request)
	}{
		{ldtest.NoPayloadID, "[" + event4 + "]", del("X-LaunchDarkly-Payload-ID")},
		{ldtest.NotUUID, "[" + event4 + "]", func(r *http.Request) { r.Header.Set("X-LaunchDarkly-Payload-ID", "batch-1") }},
		{ldtest.NotUUID, "[" + event4 + "]",
			func(r *http.Request) { r.Header.Set("X-LaunchDarkly-Payload-ID", "urn:uuid:"+id1) }},
		{ldtest.NoSchema, "[" + event4 + "]", del("X-LaunchDarkly-Event-Schema")},
		{ldtest.ContentType, "[" + event4 + "]", del("Content-Type")},
		{ldtest.ContentType, "[" + event4 + "]", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		{ldtest.NoEvents, "[ ]", nil},
	} {
		ld, url := serve(t, ldtest.Config{})
		r := bulk(t, url, id1, c.body)
		r.Header.Set("X-LaunchDarkly-Event-Schema", "4")
		if c.edit != nil {
			c.edit(r)
		}
		if got := status(t, r); got != 202 {
			t.Errorf("%s: status %d", c.rule, got)
		}
		report := ld.Report()
		if report.ViolationCount != 1 || report.Violations[0].Rule != c.rule {
			t.Errorf("%s: reported %+v", c.rule, report.Violations)
		}
		if want := strings.Count(c.body, "kind"); report.Processed != want {
			t.Errorf("%s: %d events processed, want %d", c.rule, report.Processed, want)
		}
	}
}

func TestFollowingARedirectIsAViolation(t *testing.T) {
	for _, redirect := range []int{302, 307} {
		ld, url := serve(t, ldtest.Config{})
		ld.Script(ldtest.Fault{Status: redirect})
		resp, err := http.DefaultClient.Do(bulk(t, url, id1, "["+event3+"]"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		report := ld.Report()
		if resp.StatusCode != 200 || report.Accepted != 0 || report.ViolationCount != 1 ||
			report.Violations[0].Rule != ldtest.FollowedRedirect {
			t.Errorf("%d: %d, %+v", redirect, resp.StatusCode, report)
		}
	}
}

func TestBodyOfADisconnectedClientIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ld, client := bubble(t)
		r := bulk(t, "http://ld", id1, "")
		r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("["), iotest.ErrReader(errors.New("gone")))),
			1000
		if got := view(client, r); !strings.HasSuffix(got, "gone") {
			t.Errorf("the client sees %q", got)
		}
		synctest.Wait()
		if seen := ld.Requests()[0]; seen.Accepted || seen.Status != 0 || seen.Rejection == "" ||
			seen.Hash != (ldtest.Hash{}) {
			t.Errorf("recorded as %+v", seen)
		}
		if got := view(client, bulk(t, "http://ld", id1, "["+event3+"]")); got != "202" {
			t.Errorf("the same ID with the whole body: %s", got)
		}
		if report := ld.Report(); report.Processed != 1 || report.Duplicates != 0 || report.ViolationCount != 0 {
			t.Errorf("report: %+v", report)
		}
	})
}

func TestBodyTooLargeToReadHasNoHash(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	huge := strings.Repeat(" ", 16<<20+1)
	zipped := bulk(t, url, id1, zip(huge))
	zipped.Header.Set("Content-Encoding", "gzip")
	plain := httptest.NewRecorder() // no connection that could break while the client is writing
	ld.ServeHTTP(plain, bulk(t, url, id1, huge))
	if got := status(t, zipped); got != 413 || plain.Code != 413 {
		t.Errorf("zipped %d, plain %d", got, plain.Code)
	}
	for _, seen := range ld.Requests() {
		if seen.Bytes != 0 || seen.Hash != (ldtest.Hash{}) {
			t.Errorf("recorded as %+v", seen)
		}
	}
}

func TestEachEnvironmentHasItsOwnCredentials(t *testing.T) {
	_, url := serve(t, ldtest.Config{Environments: []ldtest.Environment{
		{ClientSideID: "browser", Project: "p", Key: "no-token"},
		{Project: "p", Key: "prod", Token: "t1"},
		{Project: "p", Key: "test", Token: "t2"},
	}})
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/events/bulk/browser", "", 202},
		{"/events/bulk/" + ldtest.Sample.ClientSideID, "", 404},
		{"/v2/event-data-import/p/prod", "t1", 202},
		{"/v2/event-data-import/p/test", "t2", 202},
		{"/v2/event-data-import/p/test", "t1", 401},
		{"/v2/event-data-import/p/no-token", "", 401},
	} {
		r := metricImport(t, url, uuid.NewString(), "["+event4+"]")
		r.URL.Path = c.path
		r.Header.Set("Authorization", c.token)
		if got := status(t, r); got != c.want {
			t.Errorf("%s with token %q: %d, want %d", c.path, c.token, got, c.want)
		}
	}
}

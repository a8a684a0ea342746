package ldtest_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	event3 = `{"kind":"custom","key":"Order Completed","userKey":"u","creationDate":1592588370692,` +
		`"metricValue":99.84,"data":{"n":1}}`
	event4 = `{"kind":"custom","key":"Order Completed","contextKeys":{"user":"u"},"creationDate":1592588370692,` +
		`"data":{"n":1}}`
	id1 = "6ba7b810-9dad-51d1-80b4-00c04fd430c8"
)

// serve returns a fake that retains everything, and its URL.
func serve(t *testing.T, cfg ldtest.Config) (*ldtest.Server, string) {
	cfg.Retain = true
	ld := ldtest.New(cfg)
	srv := httptest.NewServer(ld)
	t.Cleanup(srv.Close)
	return ld, srv.URL
}

// bulk returns a correct request to the client_side endpoint.
func bulk(t *testing.T, url, id, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/events/bulk/"+ldtest.Sample.ClientSideID,
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LaunchDarkly-Event-Schema", "3")
	r.Header.Set("X-LaunchDarkly-Payload-ID", id)
	return r
}

// metricImport returns a correct request to the metric_import endpoint.
func metricImport(t *testing.T, url, id, body string) *http.Request {
	t.Helper()
	r := bulk(t, url, id, body)
	r.URL.Path = "/v2/event-data-import/" + ldtest.Sample.Project + "/" + ldtest.Sample.Key
	r.Header.Set("Authorization", ldtest.Sample.Token)
	r.Header.Set("X-LaunchDarkly-Event-Schema", "4")
	r.Header.Set("User-Agent", "MetricImport-Acme-int/1.0")
	return r
}

// status sends the request once and returns the status of the response.
func status(t *testing.T, r *http.Request) int {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the status matters
	return resp.StatusCode
}

func zip(body string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(body)) //nolint:errcheck // a buffer
	z.Close()
	return b.String()
}

func TestBothEndpointsAcceptACorrectRequest(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	zipped := bulk(t, url, uuid.NewString(), zip("["+event3+","+event3+"]"))
	zipped.Header.Set("Content-Encoding", "gzip")
	for _, r := range []*http.Request{
		bulk(t, url, uuid.NewString(), "["+event3+"]"),
		metricImport(t, url, uuid.NewString(), " [ "+event4+" ]\n"),
		zipped,
	} {
		if got := status(t, r); got != http.StatusAccepted {
			t.Errorf("%s: status %d, want 202", r.URL.Path, got)
		}
	}
	report := ld.Report()
	if report.Accepted != 4 || report.Processed != 4 || report.ViolationCount != 0 {
		t.Errorf("report: %+v", report)
	}
	if got := string(ld.Events()[1]); got != event4 {
		t.Errorf("second event: %s", got)
	}
}

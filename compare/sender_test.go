package compare

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	ldevents "github.com/launchdarkly/go-sdk-events/v3"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// LaunchDarkly's Go sender must be able to deliver to the fake. This shows, independently of the
// client in package sink, that the fake accepts the requests of LaunchDarkly's own clients.
// The sender takes the path as a parameter, so it can reach both endpoints.

const (
	event3 = `{"kind":"custom","key":"Order Completed","userKey":"u","creationDate":1592588370692,"data":{"n":1}}`
	event4 = `{"kind":"custom","key":"Order Completed","contextKeys":{"user":"u"},"creationDate":1592588370692}`

	clientSidePath = "/events/bulk/5f0c1d2e3b4a59687766554f"
	importPath     = "/v2/event-data-import/sample-project/test"
)

func importHeaders() http.Header {
	return http.Header{"Authorization": {ldtest.Sample.Token}, "User-Agent": {"MetricImport-Acme-int/1.0"}}
}

// serve returns a fake that retains everything, and its URL.
func serve(t *testing.T) (*ldtest.Server, string) {
	ld := ldtest.New(ldtest.Config{Retain: true})
	srv := httptest.NewServer(ld)
	t.Cleanup(srv.Close)
	return ld, srv.URL
}

func TestLaunchDarklysOwnSenderDelivers(t *testing.T) {
	for _, c := range []struct {
		name, path, event string
		schema            int
		headers           func() http.Header
		gzip              bool
	}{
		{"client_side, schema 3", clientSidePath, event3, 3, nil, false},
		{"client_side, schema 4, gzip", clientSidePath, event4, 4, nil, true},
		{"metric_import", importPath, event4, 4, importHeaders, false},
		{"metric_import, gzip", importPath, event4, 0, importHeaders, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ld, url := serve(t)
			sent := ldevents.SendEventDataWithRetry(ldevents.EventSenderConfiguration{
				BaseURI: url, BaseHeaders: c.headers, SchemaVersion: c.schema, EnableCompression: c.gzip,
			}, ldevents.AnalyticsEventDataKind, c.path, []byte("["+c.event+","+c.event+"]"), 2)
			report := ld.Report()
			if !sent.Success || report.Processed != 2 || report.ViolationCount != 0 {
				t.Errorf("sent: %+v; report: %+v", sent, report)
			}
			if sent.TimeFromServer == 0 {
				t.Error("LaunchDarkly's sender found no valid Date in the response")
			}
		})
	}
}

func TestLaunchDarklysOwnSenderRetriesUnderOnePayloadIDAndIsCountedOnce(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 503}, {Status: 503, Accepted: true},
		{Status: 429, RetryAfter: "1", Accepted: true}, {Status: 400},
		{Kind: ldtest.Reset}, {Kind: ldtest.Reset, Accepted: true}, {Kind: ldtest.ResetUnread},
		{Kind: ldtest.CutOff}, {Kind: ldtest.CutOff, Accepted: true},
		{Kind: ldtest.Garbage, Accepted: true},
	} {
		ld, url := serve(t)
		ld.Script(fault)
		sent := ldevents.SendEventDataWithRetry(ldevents.EventSenderConfiguration{
			BaseURI: url, SchemaVersion: 3, RetryDelay: time.Millisecond,
		}, ldevents.AnalyticsEventDataKind, clientSidePath, []byte("["+event3+"]"), 1)
		report, requests := ld.Report(), ld.Requests()
		duplicates := 0
		if fault.Accepted {
			duplicates = 1
		}
		if !sent.Success || report.Processed != 1 || report.Duplicates != duplicates || report.ViolationCount != 0 {
			t.Errorf("%s: sent %+v; report: %+v", fault, sent, report)
		}
		if len(requests) != 2 || requests[0].PayloadID != requests[1].PayloadID || requests[0].PayloadID == "" {
			t.Errorf("%s: requests: %+v", fault, requests)
		}
	}
}

func TestLaunchDarklysOwnSenderStopsWhenRejected(t *testing.T) {
	ld, url := serve(t)
	for _, path := range []string{"/events/bulk/unknown", importPath /* without a token */} {
		sent := ldevents.SendEventDataWithRetry(ldevents.EventSenderConfiguration{
			BaseURI: url, RetryDelay: time.Millisecond,
		}, ldevents.AnalyticsEventDataKind, path, []byte("["+event4+"]"), 1)
		if sent.Success || !sent.MustShutDown {
			t.Errorf("%s: sent %+v", path, sent)
		}
	}
	if report := ld.Report(); report.Accepted != 0 {
		t.Errorf("report: %+v", report)
	}
}

// The server-side sender supports only the path /bulk, which the fake does not serve. A handler
// redirects it to the client_side endpoint.
func TestLaunchDarklysServerSideSenderDelivers(t *testing.T) {
	ld := ldtest.New(ldtest.Config{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bulk" {
			t.Errorf("path %s", r.URL.Path)
		}
		r.URL.Path = clientSidePath
		ld.ServeHTTP(w, r)
	}))
	defer srv.Close()
	sender := ldevents.NewServerSideEventSender(ldevents.EventSenderConfiguration{BaseURI: srv.URL}, "sdk-key")
	sent := sender.SendEventData(ldevents.AnalyticsEventDataKind, []byte("["+event4+"]"), 1)
	if report := ld.Report(); !sent.Success || report.Processed != 1 || report.ViolationCount != 0 {
		t.Errorf("sent %+v; report: %+v", sent, report)
	}
}

package ldtest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// deliver delivers one event and returns why the fake drops it, or "" if it counts.
func deliver(t *testing.T, schema, event string) string {
	t.Helper()
	ld := ldtest.New(ldtest.Config{})
	r := bulk(t, "", id1, "["+event+"]")
	r.Header.Set("X-LaunchDarkly-Event-Schema", schema)
	w := httptest.NewRecorder()
	ld.ServeHTTP(w, r)
	report := ld.Report()
	switch {
	case w.Code != 202 || report.Accepted != 1 || report.Processed+report.Dropped != 1:
		t.Fatalf("%s: status %d, %+v", event, w.Code, report)
	case report.Processed == 1:
		return ""
	}
	drop := report.Drops[0]
	if drop.PayloadID != id1 || drop.Index != 0 {
		t.Errorf("%s: reported as %+v", event, drop)
	}
	return drop.Reason
}

func TestMalformedEventsAreAcceptedAndDropped(t *testing.T) {
	const rest3 = `"kind":"custom","userKey":"u","creationDate":1,"data":{}`
	const rest4 = `"kind":"custom","key":"k","creationDate":1,"data":{}`
	for _, c := range []struct{ schema, event, want string }{
		{"3", event3, ""},
		{"4", event4, ""},
		{"3", `{"kind":"custom","key":"k","userKey":"u","creationDate":1}`, ""},
		{"3", `{"key":"k","data":[1,"]}"],"metricValue":0,` + rest3[:len(rest3)-10] + `}`, ""},
		{"3", `{"key":"k","metricValue":-1.5e3,` + rest3 + `}`, ""},
		{"4", `{"contextKeys":{"user":"u","org.unit-2_x":"o"},` + rest4 + `}`, ""},
		{"3", `{"\u006bey":"k",` + rest3 + `}`, ""},

		{"3", event4, "unknown field in schema 3"},
		{"4", event3, "unknown field in schema 4"},
		{"5", event4, "unknown event schema"},
		{"3", `{` + rest3 + `}`, "no key"},
		{"3", `{"key":"",` + rest3 + `}`, "key must be a non-empty string"},
		{"3", `{"key":7,` + rest3 + `}`, "key must be a non-empty string"},
		{"3", `{"key":null,` + rest3 + `}`, "key must be a non-empty string"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `"u"`, `""`, 1) + `}`, "userKey must be a non-empty string"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `"u"`, `5`, 1) + `}`, "userKey must be a non-empty string"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `"userKey":"u",`, ``, 1) + `}`, "no userKey"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `"creationDate":1,`, ``, 1) + `}`, "no creationDate"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `:1,`, `:0,`, 1) + `}`, "creationDate is not a positive integer"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `:1,`, `:-1,`, 1) + `}`, "creationDate is not a positive integer"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `:1,`, `:1.5,`, 1) + `}`, "creationDate is not a positive integer"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `:1,`, `:1e3,`, 1) + `}`, "creationDate is not a positive integer"},
		{"3", `{"key":"k",` + strings.Replace(rest3, `:1,`, `:"1",`, 1) + `}`, "creationDate is not a positive integer"},
		{"3", `{"key":"k","metricValue":"1",` + rest3 + `}`, "metricValue is not a number"},
		{"3", `{"key":"k","metricValue":null,` + rest3 + `}`, "metricValue is not a number"},
		{"3", `{"key":"k","metricValue":1e400,` + rest3 + `}`, "metricValue is not a number"},
		{"3", `{"key":"k","key":"k",` + rest3 + `}`, "duplicate field"},
		{"3", `{"key":"k","Key":"k",` + rest3 + `}`, "unknown field in schema 3"},
		{"3", `{"key":"k","anonymousId":"a",` + rest3 + `}`, "unknown field in schema 3"},
		{"4", `{` + rest4 + `}`, "no contextKeys"},
		{"4", `{"contextKeys":{},` + rest4 + `}`, "contextKeys is empty"},
		{"4", `{"contextKeys":"u",` + rest4 + `}`, "contextKeys is not an object"},
		{"4", `{"contextKeys":{"user":7},` + rest4 + `}`, "a context key must be a non-empty string"},
		{"4", `{"contextKeys":{"user":""},` + rest4 + `}`, "a context key must be a non-empty string"},
		{"4", `{"contextKeys":{"user":"a","user":"b"},` + rest4 + `}`, "duplicate context kind"},
		{"4", `{"contextKeys":{"a b":"u"},` + rest4 + `}`, "invalid context kind"},
	} {
		if got := deliver(t, c.schema, c.event); got != c.want {
			t.Errorf("schema %s, %s: %q, want %q", c.schema, c.event, got, c.want)
		}
	}
}

func TestDroppedEventDoesNotAffectItsNeighbors(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	bad := strings.Replace(event3, `"u"`, `7`, 1)
	status(t, bulk(t, url, id1, "["+bad+","+event3+","+bad+"]"))
	report := ld.Report()
	if report.Accepted != 3 || report.Processed != 1 || report.Dropped != 2 || report.Drops[1].Index != 2 {
		t.Errorf("report: %+v", report)
	}
	if got := ld.Events(); len(got) != 1 || string(got[0]) != event3 {
		t.Errorf("counted events: %s", got)
	}
}

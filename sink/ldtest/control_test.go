package ldtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestControlAppliesFaultsOverHTTP(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	control := httptest.NewServer(ld.Control())
	defer control.Close()
	call := func(method, path, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, control.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded") // like curl -d
		return status(t, r)
	}
	steps := []struct {
		path, body string
		want       []int // statuses of the following requests
	}{
		{"/script", `["503","pass","429,accepted,retry-after=1"]`, []int{503, 202, 429, 202}},
		{"/down?fault=500", "", []int{500, 500}},
		{"/up", "", []int{202}},
		{"/random?seed=1&rate=1", `["504"]`, []int{504, 504}},
		{"/random?seed=1&rate=0", "", []int{202}},
		{"/poison?contains=Order", "", []int{400}},
		{"/poison", "", []int{202}},
		{"/limit?bytes=10", "", []int{413}},
		{"/limit", "", []int{202}},
	}
	for _, step := range steps {
		if got := call(http.MethodPost, step.path, step.body); got != http.StatusNoContent {
			t.Errorf("%s: %d", step.path, got)
		}
		if got := statuses(t, url, len(step.want)); !slices.Equal(got, step.want) {
			t.Errorf("after %s: %v, want %v", step.path, got, step.want)
		}
	}
	for path, body := range map[string]string{
		"/script": `["nonsense"]`, "/script?again": "{", "/down": "", "/down?fault=202": "",
		"/random?seed=1": "", "/random?rate=1": "", "/random?seed=1&rate=1": `["slow"]`, "/limit?bytes=-1": "",
	} {
		if got := call(http.MethodPost, path, body); got != http.StatusBadRequest {
			t.Errorf("%s %s: %d, want 400", path, body, got)
		}
	}
	if got := call(http.MethodGet, "/script", ""); got != http.StatusMethodNotAllowed {
		t.Errorf("GET /script: %d", got)
	}

	status(t, bulk(t, url, uuid.NewString(), strings.Replace("["+event3+"]", `"u"`, `7`, 1)))
	resp, err := http.Get(control.URL + "/report")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var report ldtest.Report
	if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if report.Processed != 7 || report.Dropped != 1 || len(report.Drops) != 1 || report.Requests[504] != 2 {
		t.Errorf("report: %+v", report)
	}
}

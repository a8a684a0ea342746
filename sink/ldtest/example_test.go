package ldtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// The first request fails without effect. The second one takes effect, but its response is a 503.
// The third one passes, and is a duplicate of the second.
func ExampleServer_Script() {
	ld := ldtest.New(ldtest.Config{})
	ld.Script(ldtest.Fault{Status: 429, RetryAfter: "1"}, ldtest.Fault{Status: 503, Accepted: true})
	server := httptest.NewServer(ld)
	defer server.Close()

	for range 3 {
		body := `[{"kind":"custom","key":"Order Completed","userKey":"u1","creationDate":1592588370692}]`
		request, err := http.NewRequest(http.MethodPost,
			server.URL+"/events/bulk/"+ldtest.Sample.ClientSideID, strings.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-LaunchDarkly-Event-Schema", "3")
		request.Header.Set("X-LaunchDarkly-Payload-ID", "7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			fmt.Println(err)
			return
		}
		response.Body.Close()
		fmt.Println(response.Status)
	}
	report := ld.Report()
	fmt.Printf("%d event counts, %d duplicate, %d violations\n",
		report.Processed, report.Duplicates, report.ViolationCount)
	// Output:
	// 429 Too Many Requests
	// 503 Service Unavailable
	// 202 Accepted
	// 1 event counts, 1 duplicate, 0 violations
}

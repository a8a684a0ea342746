package ldtest_test

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// LaunchDarkly generates its clients of the REST API from the documentation. Its Python client
// checks the types and the required fields of each response. The test shows, independently of
// package ldapi, that the fake responds like the documentation.
func TestLaunchDarklysOwnRESTClient(t *testing.T) {
	installed := os.Getenv("LAUNCHDARKLY_API_CLIENT")
	if installed == "" {
		t.Skip("needs Python and LaunchDarkly's client: make test-client")
	}
	api := &ldtest.API{
		Metrics: map[string][]ldtest.Metric{"sample-project": {
			{Key: "revenue", Name: "Revenue", EventKey: "Order Completed", Numeric: true, Experiments: 1, Filters: inEuros},
			{Key: "pricing", Kind: "pageview", Experiments: 1},
			{Key: "signup", EventKey: "Signed Up", Units: []string{"user", "account"}, Rollouts: 1},
			{Key: "warehouse", EventKey: "order", DataSource: "snowflake"},
			{Key: "old", EventKey: "Old", Archived: true},
		}},
		Uncounted: []string{"Lost"},
	}
	_, url := serve(t, ldtest.Config{API: api})
	start := time.Now().Truncate(time.Hour)
	for _, key := range []string{"Order Completed", "Signed Up", "Order Completed", "Lost"} {
		event := strings.Replace(event3, "Order Completed", key, 1)
		if got := status(t, bulk(t, url, uuid.NewString(), "["+event+"]")); got != 202 {
			t.Fatalf("status %d", got)
		}
	}
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/restclient.py", url, ldtest.APIToken,
		ldtest.Sample.Token, strconv.FormatInt(start.UnixMilli(), 10))
	cmd.Env = append(os.Environ(), "PYTHONPATH="+installed)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &stderr)
	}
	if got := string(out); got != restClientOutput {
		t.Errorf("got\n%s\nwant\n%s\n%s", got, restClientOutput, &stderr)
	}
}

const inEuros = `{"type":"group","op":"and","negate":false,"values":[` +
	`{"type":"eventProperty","attribute":"currency","op":"in","values":["EUR"],"negate":false}]}`

// restClientOutput is the output of testdata/restclient.py.
const restClientOutput = `page 1 of 5 metrics: revenue pricing
page 2 of 5 metrics: signup warehouse
page 3 of 5 metrics: old
used custom metrics: revenue signup
revenue: Revenue, Order Completed, numeric True, units ['user'], data source launchdarkly-hosted, experiments 1
revenue: filter and [{'attribute': 'currency', 'negate': False, 'op': 'in', 'type': 'eventProperty', 'values': ['EUR']}]
signup: units ['user', 'account'], archived False
warehouse: data source snowflake
old: archived True
counted: {'Order Completed': 2, 'Signed Up': 1}
limit too large: BadRequestException 400 invalid_request NoneType
unknown filter: BadRequestException 400 invalid_request NoneType
unknown granularity: BadRequestException 400 invalid_request InvalidRequestErrorRep
unknown token: UnauthorizedException 401 unauthorized UnauthorizedErrorRep
token of another role: ForbiddenException 403 forbidden NoneType
no beta header: ForbiddenException 403 forbidden ForbiddenErrorRep
unknown project: NotFoundException 404 not_found NotFoundErrorRep
`

package ldtest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// APIToken is the default of API.Token.
const APIToken = "api-11111111-1111-4111-8111-111111111111"

// API is the fake's REST API. A [Server] serves it under /api/v2/ if Config.API is set:
//
//	GET /api/v2/metrics/{project}               the metrics of a project
//	GET /api/v2/usage/experimentation-events    the number of events that the Server has counted
//
// The projects and environments are those of the Server. The zero API is usable. The fields must
// not change while a request is served. The methods are safe for concurrent use.
//
// The API supports the documented parameters of these resources, except for some filters, and
// responds with 400 to any other parameter or value. It responds with 401 to an unknown token, and
// with 403 to an environment's token, whose role allows only importing events. The usage is a beta
// resource, and therefore requires the header LD-API-Version: beta. The usage counts the events
// that count in [Report], by event key and by the hour in which their request arrived, and omits
// counts of zero.
type API struct {
	// Token is the access token that allows viewing everything. Empty means APIToken.
	Token string

	// Metrics contains the metrics of each project, oldest first.
	Metrics map[string][]Metric

	// Uncounted lists event keys that the usage does not count.
	Uncounted []string

	// RateLimit is the number of requests that each window of 10 s allows. Zero means 1000.
	RateLimit int

	mu       sync.Mutex // guards the fields below
	script   []Fault
	window   time.Time // start of the current window
	requests int       // in the current window
	counted  map[counted]int64
}

// counted is the key of an event count.
type counted struct {
	project, environment, eventKey string
	hour                           time.Time
}

const rateWindow = 10 * time.Second

// Script appends faults to the script. Each request to the API consumes one fault. A fault with
// status 429 and RetryIn sends the headers of the account's rate limit, including
// X-Ratelimit-Reset. With RetryAfter, it sends the header of the IP address's rate limit. Script
// panics if a fault is invalid. The faults of the [Server] do not affect the API.
func (a *API) Script(faults ...Fault) {
	mustBeValid(faults)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script = append(a.script, faults...)
}

// serve responds to a request whose path starts with /api/v2/.
func (a *API) serve(w http.ResponseWriter, r *http.Request, environments []Environment) {
	now := time.Now()
	a.mu.Lock()
	var fault Fault
	if len(a.script) > 0 {
		fault, a.script = a.script[0], a.script[1:]
	}
	if window := now.Truncate(rateWindow); window != a.window {
		a.window, a.requests = window, 0
	}
	a.requests++
	remaining, reset := cmp.Or(a.RateLimit, 1000)-a.requests, a.window.Add(rateWindow)
	a.mu.Unlock()

	if fault.Status == http.StatusTooManyRequests && fault.RetryIn != 0 {
		remaining, reset, fault = -1, now.Add(fault.RetryIn), Fault{}
	}
	switch {
	case fault.Kind == Slow:
		if !sleep(r.Context(), fault.For) {
			panic(http.ErrAbortHandler)
		}
	case !fault.passes():
		fault.apply(w, r)
		return
	}
	w.Header().Set("X-Ratelimit-Route-Remaining", strconv.Itoa(max(remaining, 0)))
	w.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(reset.UnixMilli(), 10))
	w.Header().Set("Content-Type", "application/json")
	body, denied := any(nil), &denial{http.StatusTooManyRequests, "You've exceeded the API rate limit. Try again later."}
	if remaining >= 0 {
		body, denied = a.respond(r, environments)
	}
	if denied != nil {
		body = map[string]string{"code": denialCodes[denied.status], "message": denied.message}
		w.WriteHeader(denied.status)
	}
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client may have disconnected
}

// denial is the status and the message of a response that denies a request.
type denial struct {
	status  int
	message string
}

// denialCodes contains the codes of error responses, by status.
var denialCodes = map[int]string{
	http.StatusBadRequest: "invalid_request", http.StatusUnauthorized: "unauthorized",
	http.StatusForbidden: "forbidden", http.StatusNotFound: "not_found",
	http.StatusMethodNotAllowed: "method_not_allowed", http.StatusTooManyRequests: "rate_limited",
}

var (
	unknownResource = &denial{http.StatusNotFound, "Invalid resource identifier"}
	forbidden       = &denial{http.StatusForbidden, "Forbidden. Access to the requested resource was denied."}
)

// respond returns the body of a response, or a denial.
func (a *API) respond(r *http.Request, environments []Environment) (any, *denial) {
	token := r.Header.Get("Authorization")
	switch {
	case token == cmp.Or(a.Token, APIToken):
	case token != "" && slices.ContainsFunc(environments, func(e Environment) bool { return e.Token == token }):
		return nil, forbidden
	default:
		return nil, &denial{http.StatusUnauthorized, "Invalid access token"}
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, apiPath), "/")
	metrics := len(parts) == 2 && parts[0] == "metrics" && parts[1] != ""
	usage := len(parts) == 2 && parts[0] == "usage" && parts[1] == "experimentation-events"
	query, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case !metrics && !usage:
		return nil, unknownResource
	case r.Method != http.MethodGet:
		return nil, &denial{http.StatusMethodNotAllowed, "Method not allowed"}
	case usage && r.Header.Get("LD-API-Version") != "beta":
		return nil, &denial{http.StatusForbidden, "This is a beta resource. Set the header LD-API-Version to beta."}
	case err != nil:
		return nil, &denial{http.StatusBadRequest, err.Error()}
	case usage:
		return a.usage(query, environments)
	}
	return a.listMetrics(parts[1], query, environments)
}

// apiPath is the start of the paths of the REST API.
const apiPath = "/api/v2/"

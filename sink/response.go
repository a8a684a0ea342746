package sink

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// verdict classifies a response and determines how the client proceeds.
type verdict uint8

const (
	accepted  verdict = iota // delivered
	rejected                 // body rejected: retry once, then split it or pass its only event to Delivery.Rejected
	tooLarge                 // body too large: like rejected, but without the retry
	retryable                // transient failure: retry the same request after a backoff
	halted                   // URL or credentials rejected: halt delivery
)

// classify returns the verdict for a status code. It follows LaunchDarkly's documentation on
// importing metric events and the behavior of LaunchDarkly's SDKs. For other status codes, it
// follows RFC 9110.
func classify(status int) verdict {
	switch {
	case status >= 200 && status < 300:
		return accepted
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return rejected
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return retryable
	default:
		// These include 401, 403, 404, and 406, and also 3xx, because a redirect could send events
		// elsewhere. LaunchDarkly does not send 405 or 407.
		return halted
	}
}

// response is the outcome of one attempt.
type response struct {
	verdict     verdict
	status      int           // 0 if there was no readable response
	err         error         // why there was no readable response
	excerpt     string        // start of the response body, or an error; exchange neither masks nor shortens it
	location    string        // target of a redirect
	retryAfter  time.Duration // delay in the Retry-After header of a 429 or 503, otherwise 0
	credentials credentials   // sent with the request
}

// failed reports whether the request failed for a reason other than its body and must be retried.
func (r response) failed() bool { return r.verdict == retryable || r.verdict == halted }

// overloaded reports whether LaunchDarkly asked for fewer requests (429 or 503).
func (r response) overloaded() bool {
	return r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable
}

// cause describes a failed attempt without any text sent by the server, except for a redirect's
// target.
func (r response) cause() string {
	switch {
	case r.status != 0:
		cause := fmt.Sprintf("%d %s", r.status, http.StatusText(r.status))
		if r.location != "" {
			cause += " to " + r.location
		}
		return cause
	case r.err != nil && (r.verdict == halted || r.advice() != ""): // the error quotes no response
		return r.excerpt
	default:
		return "no valid response"
	}
}

// advice returns advice on a failed attempt, or "" if there is none.
func (r response) advice() string {
	switch {
	case r.status >= 300 && r.status < 400:
		return redirectAdvice
	case r.verdict == halted, r.status != 0 && classify(r.status) == halted:
		return rejectedAdvice
	case r.err != nil:
		return Advice(r.err)
	}
	return ""
}

// wrongAddress reports whether the failure of the attempt suggests a wrong address.
func (r response) wrongAddress() bool {
	advice := r.advice()
	return r.status == 0 && r.verdict == retryable && advice != "" && advice != timeoutAdvice
}

// code returns the value of the code label in metrics.
func (r response) code() string {
	if r.status == 0 {
		return codeError
	}
	return strconv.Itoa(r.status)
}

// maxRetryAfter caps Retry-After, so that a corrupt date cannot block delivery indefinitely.
const maxRetryAfter = time.Hour

// RetryAfter returns the delay in a Retry-After header, which contains seconds or a date (RFC
// 9110, section 10.2.3). It returns 0 if the header is absent or malformed. A date is compared with
// the response's Date header, because the server's clock may differ from the local clock. If Date
// is absent or malformed, the date is compared with now.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if until, err := http.ParseTime(value); err == nil {
		if date, err := http.ParseTime(header.Get("Date")); err == nil {
			now = date
		}
		return min(max(until.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

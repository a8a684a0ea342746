package sink

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// verdict is what an answer means for a part, and so what becomes of it.
type verdict uint8

const (
	accepted verdict = iota // delivered
	refused                 // something in the body: once more, then split, or set a single event aside
	tooLarge                // as refused, but the same body again would be a waste
	later                   // for the time being: the same request again, after a backoff
	denied                  // we are refused, not the body: halt
)

// judge returns what a status code means. Sources: LaunchDarkly's page on
// importing metric events and the behaviour of its own SDKs; where those are
// silent, RFC 9110.
func judge(status int) verdict {
	switch {
	case status >= 200 && status < 300:
		return accepted
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return refused
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return later
	default: // 401, 403, 404, 406; 3xx, which to follow would be to post elsewhere; 405, 407: somebody else answers
		return denied
	}
}

// answer is what came of one attempt.
type answer struct {
	verdict    verdict
	status     int           // 0 if there was none
	excerpt    string        // start of the answer's body, or what went wrong
	retryAfter time.Duration // 0 if LaunchDarkly did not say
	token      string        // that was sent with the request, "" if there was none; never logged
}

// failed says whether the request failed for a reason that is not in its body, so
// that the same request is to be made again.
func (a answer) failed() bool { return a.verdict == later || a.verdict == denied }

// asksForLess says whether LaunchDarkly wants fewer requests.
func (a answer) asksForLess() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
}

func (a answer) String() string {
	if a.status == 0 {
		return a.excerpt
	}
	return fmt.Sprintf("%d %s: %s", a.status, http.StatusText(a.status), a.excerpt)
}

// code is the answer as a metric label.
func (a answer) code() string {
	if a.status == 0 {
		return codeError
	}
	return strconv.Itoa(a.status)
}

// longestRetryAfter caps Retry-After, so that a damaged date cannot stop us for
// ever.
const longestRetryAfter = time.Hour

// retryAfter reads a Retry-After header in both of its forms, seconds and date
// (RFC 9110, section 10.2.3). It returns 0 if there is none that can be read. A date
// is compared with the response's own Date, because the server's clock may differ from
// this host's. Without a readable Date, now stands in.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longestRetryAfter/time.Second))) * time.Second
	}
	if until, err := http.ParseTime(value); err == nil {
		if date, err := http.ParseTime(header.Get("Date")); err == nil {
			now = date
		}
		return min(max(until.Sub(now), 0), longestRetryAfter)
	}
	return 0
}

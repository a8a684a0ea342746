package ldapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

const (
	urlAdvice   = "Fix launchdarkly.api_url."
	proxyAdvice = "Fix launchdarkly.api_url, or find out whether a proxy responds in place of LaunchDarkly."
	tokenAdvice = "Fix launchdarkly.api_token or launchdarkly.api_token_file." //nolint:gosec // not a credential
)

// Error describes a failed request.
type Error struct {
	Status int // status code of the response; 0 if there was none

	text, advice string
	err          error         // the cause; nil for a response with a status other than 200
	transient    bool          // whether a retry can be successful
	wait         time.Duration // time to wait before the retry; 0 if LaunchDarkly does not announce it
}

// Error returns what was attempted and what failed.
func (e *Error) Error() string { return e.text }

// Advice returns how to fix the problem, in one or more sentences, or "" if that is unknown.
func (e *Error) Advice() string { return e.advice }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.err }

// networkError describes a request without a complete response.
func networkError(r request, err error) *Error {
	return &Error{
		text: r.purpose + ": " + err.Error(), err: err, transient: true,
		advice: cmp.Or(sink.NetworkAdvice(err, "launchdarkly.api_url", "launchdarkly.ca_file or the CA certificates "+
			"trusted by this host"), "Fix launchdarkly.api_url or the network between this host and LaunchDarkly."),
	}
}

// statusError describes a response with a status other than 200.
func statusError(r request, resp *http.Response, body []byte, token string) *Error {
	code := resp.StatusCode
	e := &Error{Status: code, text: fmt.Sprintf("%s: LaunchDarkly responded with %d %s", r.purpose, code,
		http.StatusText(code))}
	if target := sink.RedirectTarget(resp); target != "" {
		e.text += " to " + target
	}
	var rejection struct{ Message string }
	if json.Unmarshal(bytes.ReplaceAll(body, []byte(token), []byte("[redacted]")), &rejection) == nil &&
		rejection.Message != "" {
		e.text += ": " + excerpt(rejection.Message)
	}
	switch {
	case code == http.StatusUnauthorized:
		e.advice = "The access token is invalid, lacks permission, or belongs to another instance of LaunchDarkly. " +
			"Set launchdarkly.api_token to an API access token with the role Reader, not to an SDK key, and fix " +
			"launchdarkly.api_url if your account is on the EU or the federal instance."
	case code == http.StatusForbidden:
		e.advice = r.forbidden
	case code == http.StatusNotFound:
		e.advice = r.notFound
	case code == http.StatusTooManyRequests:
		e.transient, e.wait = true, retryIn(resp.Header)
		e.advice = "All access tokens of the account share the rate limit. Try again later."
		if e.wait > 0 {
			e.text += fmt.Sprintf(" (rate limit resets in %v)", e.wait.Round(time.Second))
		}
	case code == http.StatusRequestTimeout, code >= 500:
		e.transient, e.wait = true, sink.RetryAfter(resp.Header, time.Now())
		e.advice = "LaunchDarkly is unavailable (see https://status.launchdarkly.com), or a proxy responds in its " +
			"place. Try again later."
	case code >= 300 && code < 400:
		e.advice = "Redirects are never followed. Set launchdarkly.api_url to an address that does not redirect."
	case code != http.StatusBadRequest:
		e.advice = proxyAdvice
	}
	return e
}

// excerpt returns the start of a message in one line.
func excerpt(message string) string {
	words := strings.FieldsFunc(message, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	message = strings.Join(words, " ")
	return strings.ToValidUTF8(message[:min(len(message), 200)], "")
}

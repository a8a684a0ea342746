package ldapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// failure returns the error of a request.
func (w *world) failure() *ldapi.Error {
	w.t.Helper()
	_, err := w.client.Metrics(w.t.Context(), project, false)
	failure, ok := errors.AsType[*ldapi.Error](err)
	if !ok {
		w.t.Fatalf("error %v of type %T", err, err)
	}
	return failure
}

// responseOf returns a handler that sends a status and a body.
func responseOf(status int, body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(status)
		io.WriteString(rw, body) //nolint:errcheck // the client may have disconnected
	}
}

func TestErrorsNameTheKeyToFix(t *testing.T) {
	for _, test := range []struct {
		name         string
		edit         func(w *world)
		text, advice string // parts of them
	}{
		{
			"unknown token", func(w *world) { w.token = func(int) string { return "api-unknown" } },
			"list metrics: LaunchDarkly responded with 401 Unauthorized: Invalid access token", "launchdarkly.api_token",
		},
		{
			"token of another role", func(w *world) { w.token = func(int) string { return ldtest.Sample.Token } },
			"403 Forbidden: Forbidden. Access", "role Reader is sufficient",
		},
		{
			"redirect", func(w *world) { w.api.Script(ldtest.Fault{Status: 302}) },
			"302 Found to app.test/redirected", "launchdarkly.api_url",
		},
		{
			"another server", func(w *world) { w.respond = responseOf(405, "<html>") },
			"405 Method Not Allowed", "launchdarkly.api_url",
		},
		{
			"not JSON", func(w *world) { w.respond = responseOf(200, "<html>") },
			"decode the response: invalid character '<'", "launchdarkly.api_url",
		},
		{
			"other JSON", func(w *world) { w.respond = responseOf(200, `{"items":{}}`) },
			"decode the response", "launchdarkly.api_url",
		},
		{
			"bad filters",
			func(w *world) {
				w.respond = responseOf(200, `{"items":[{"kind":"custom","key":"k",`+
					`"filters":{"type":"group","op":"and","values":["a"]}}]}`)
			},
			"list metrics: filters of metric k: ", "",
		},
		{
			"response that is too large", func(w *world) { w.respond = responseOf(200, strings.Repeat(" ", 64<<20+1)) },
			"the response is larger than 64 MiB", "",
		},
		{
			"rejected query", func(w *world) { w.respond = responseOf(400, `{"message":"no\nsuch\u0000 filter"}`) },
			"400 Bad Request: no such filter", "",
		},
		{
			"empty token", func(w *world) { w.token = func(int) string { return "" } },
			"list metrics: access token: must be", "launchdarkly.api_token",
		},
		{
			"token of two lines", func(w *world) { w.token = func(int) string { return "a\nb" } },
			"list metrics: access token: must be", "launchdarkly.api_token_file",
		},
		{
			"unreadable token",
			func(w *world) { w.cfg.Token = func() (string, error) { return "", errors.New("no file") } },
			"list metrics: access token: no file", "launchdarkly.api_token_file",
		},
		{
			"no server",
			func(w *world) { w.cfg.Transport = broken{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}} },
			"connection refused", "launchdarkly.api_url",
		},
		{
			"unknown network error", func(w *world) { w.cfg.Transport = broken{errors.New("broken")} },
			"list metrics: broken", "launchdarkly.api_url",
		},
		{
			"outage", func(w *world) { w.respond = responseOf(503, "") },
			"503 Service Unavailable", "status.launchdarkly.com",
		},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			test.edit(w)
			w.client = ldapi.New(w.cfg)
			err := w.failure()
			if !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Advice(), test.advice) ||
				(test.advice == "") != (err.Advice() == "") {
				t.Errorf("%s: %v\nadvice: %s", test.name, err, err.Advice())
			}
			if test.name == "redirect" && len(w.sent()) != 1 {
				t.Errorf("%d requests", len(w.sent()))
			}
		})
	}
}

// broken is a transport that fails.
type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

func TestUnknownProjectIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, listing := w.client.Metrics(t.Context(), "a/b", false)
		_, counting := w.client.Usage(t.Context(), ldapi.UsageQuery{
			Project: "a/b", Environment: "e", From: time.Now(), To: time.Now(),
		})
		for _, err := range []error{listing, counting} {
			failure, ok := errors.AsType[*ldapi.Error](err)
			if !ok || failure.Status != 404 || !strings.HasPrefix(failure.Advice(), "Project a/b ") ||
				!strings.Contains(failure.Advice(), "launchdarkly.project_key") {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestErrorsNeverContainTheToken(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.respond = responseOf(401, `{"message":"bad token `+ldtest.APIToken+`"}`)
		if got := w.failure().Error(); strings.Contains(got, ldtest.APIToken) || !strings.Contains(got, "[redacted]") {
			t.Error(got)
		}
	})
}

func TestTokenIsReadForEachRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Metrics = metricsNamed(numbered(60)...)
		w.token = func(n int) string { return map[bool]string{true: ldtest.APIToken, false: "revoked"}[n != 2] }
		if err := w.failure(); err.Status != 401 {
			t.Error(err)
		}
		w.metrics(false)
	})
}

func TestTransientFailuresAreRetried(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 500}, {Status: 502}, {Status: 503, RetryAfter: "1"}, {Status: 504}, {Status: 408}, {Status: 429},
		{Status: 429, RetryAfter: "1"}, {Status: 429, RetryIn: time.Second},
		{Kind: ldtest.Reset}, {Kind: ldtest.CutOff}, {Kind: ldtest.Garbage}, {Kind: ldtest.Hang},
		{Kind: ldtest.Truncated, Status: 200, Accepted: true}, {Kind: ldtest.Slow, For: 9 * time.Second},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.api.Metrics = metricsNamed("a")
			w.api.Script(fault, fault)
			if got := w.metrics(false); got != "a" {
				t.Errorf("%s: got %q", fault, got)
			}
		})
	}
}

func TestAttemptsWithoutAnnouncementAreLimited(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 500}, {Status: 429}, {Kind: ldtest.Reset}, {Kind: ldtest.Hang},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			for range 5 {
				w.api.Script(fault)
			}
			err := w.failure()
			limit := 5 * time.Second
			if fault.Kind == ldtest.Hang {
				limit += 4 * 10 * time.Second
			}
			if len(w.sent()) != 4 || w.elapsed() > limit || err.Advice() == "" {
				t.Errorf("%s: %d requests in %v, %v", fault, len(w.sent()), w.elapsed(), err)
			}
		})
	}
}

func TestRateLimitIsRetriedWhenItIsReset(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 429, RetryAfter: "7"}, {Status: 429, RetryIn: 7 * time.Second}, {Status: 503, RetryAfter: "7"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.api.Metrics = metricsNamed("a")
			w.api.Script(fault)
			w.metrics(false)
			if got := w.elapsed(); got < 7*time.Second || got > 8*time.Second {
				t.Errorf("%s: took %v", fault, got)
			}
		})
	}
}

func TestClockOfTheServerDeterminesTheWait(t *testing.T) {
	for _, header := range []string{"X-Ratelimit-Reset", "X-Ratelimit-Auth-Token-Reset"} {
		inBubble(t, func(t *testing.T, w *world) {
			w.api.Metrics = metricsNamed("a")
			served := time.Now().Add(-time.Hour).UTC()
			w.before = func(n int) {
				if n == 2 {
					w.respond = nil
				}
			}
			w.respond = func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Date", served.Format(http.TimeFormat))
				rw.Header().Set(header, "946681205000") // 5 s after served
				rw.WriteHeader(http.StatusTooManyRequests)
			}
			w.metrics(false)
			if got := w.elapsed(); got < 5*time.Second || got > 6*time.Second {
				t.Errorf("%s: took %v", header, got)
			}
		})
	}
}

func TestRequestFailsImmediatelyIfTheRateLimitIsResetTooLate(t *testing.T) {
	for _, fault := range []ldtest.Fault{
		{Status: 429, RetryAfter: "31"}, {Status: 429, RetryIn: time.Minute}, {Status: 503, RetryAfter: "3600"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.api.Script(fault)
			err := w.failure()
			if w.elapsed() > time.Second || !strings.Contains(err.Advice(), "Try again later.") {
				t.Errorf("%s: %v after %v", fault, err, w.elapsed())
			}
			if fault.RetryIn != 0 && !strings.HasSuffix(err.Error(), "Try again later. (rate limit resets in 1m0s)") {
				t.Errorf("%s: %v", fault, err)
			}
		})
	}
}

// Otherwise a client would send hundreds of requests while the limit of the account is exhausted.
func TestRequestsUnderARateLimitAreRare(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.respond = func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header()["Date"] = nil
			rw.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(time.Now().Add(10*time.Millisecond).UnixMilli(), 10))
			rw.WriteHeader(http.StatusTooManyRequests)
		}
		if err := w.failure(); err.Status != 429 || len(w.sent()) > 31 {
			t.Errorf("%v, %d requests", err, len(w.sent()))
		}
	})
}

func TestWaitsOfAllRequestsTogetherAreLimited(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Metrics = metricsNamed("a")
		for range 4 {
			w.api.Script(ldtest.Fault{Status: 429, RetryAfter: "9"}, ldtest.Fault{})
		}
		for range 3 {
			w.metrics(false)
		}
		if err := w.failure(); err.Status != 429 || w.elapsed() > 30*time.Second {
			t.Errorf("%v after %v", err, w.elapsed())
		}
	})
}

// A window of ten seconds allows two of the five pages.
func TestLongListIsReadUnderARateLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		want := numbered(250)
		w.api.Metrics, w.api.RateLimit = metricsNamed(want...), 2
		if got := w.metrics(false); got != strings.Join(want, " ") {
			t.Errorf("got %s", got)
		}
		if got := w.elapsed(); got < 20*time.Second || got > 22*time.Second {
			t.Errorf("took %v", got)
		}
	})
}

func TestCanceledRequestIsNotRetried(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.api.Script(ldtest.Fault{Status: 429, RetryAfter: "20"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.client.Metrics(ctx, project, false); err == nil || w.elapsed() > time.Second {
			t.Errorf("%v after %v", err, w.elapsed())
		}
		if _, err := w.client.Metrics(ctx, project, false); !errors.Is(err, context.DeadlineExceeded) ||
			len(w.sent()) != 1 {
			t.Errorf("%v, %d requests", err, len(w.sent()))
		}
	})
}

// The unit of the header is milliseconds. Nanoseconds would be a time that no duration can express.
func TestRateLimitThatIsNeverResetFailsImmediately(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.respond = func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-Ratelimit-Reset", "1764000000000000000")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
		if err := w.failure(); len(w.sent()) != 1 || err.Status != http.StatusTooManyRequests {
			t.Errorf("%d requests, %v", len(w.sent()), err)
		}
	})
}

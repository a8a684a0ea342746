package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func refused() error {
	return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

const unreachableEntry = "no response from LaunchDarkly since start"

func TestWrongAddressIsReportedUntilTheFirstResponse(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		advice string
	}{
		"name":       {&net.DNSError{Err: "no such host", Name: "events.test"}, "The host name cannot be resolved."},
		"refused":    {refused(), "Nothing is listening on this address. Fix launchdarkly.events_url"},
		"plain HTTP": {http.ErrSchemeMismatch, "The server does not use TLS on this port."},
		"no TLS":     {tls.RecordHeaderError{Msg: "not a TLS handshake"}, "The server does not use TLS on this port."},
		"unknown CA": {
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
			"The certificate is not signed by a trusted authority. Fix launchdarkly.ca_file",
		},
		"other name": {
			&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: new(x509.Certificate), Host: "events.test"}},
			"The certificate is for a different name. Fix launchdarkly.events_url.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				b.breakWith(c.err)
				started := time.Now()
				b.many(10)
				time.Sleep(unreachableAfter - time.Millisecond)
				if o := b.client.Status().Outage; o.Unreachable || !o.Since.Equal(started) {
					t.Errorf("too early: %+v", o)
				}
				time.Sleep(time.Millisecond)
				o := b.client.Status().Outage
				if !o.Unreachable || o.Cause != c.err.Error() || !strings.HasPrefix(o.Advice, c.advice) {
					t.Errorf("%+v", o)
				}
				time.Sleep(time.Hour)
				log := b.log.String()
				if strings.Count(log, unreachableEntry) != 1 || !strings.Contains(log, `"advice":"`+c.advice) {
					t.Errorf("not logged exactly once: %s", log)
				}
				b.breakWith(nil)
				b.ld.Down(ldtest.Fault{Status: 503})
				time.Sleep(2 * b.cfg.BackoffMax)
				if o := b.client.Status().Outage; o.Unreachable || o.Cause != "503 Service Unavailable" {
					t.Errorf("after a response: %+v", o)
				}
				b.breakWith(c.err)
				time.Sleep(time.Hour)
				if o := b.client.Status().Outage; o.Unreachable || o.Cause != c.err.Error() {
					t.Errorf("later: %+v", o)
				}
				b.ld.Up()
				b.breakWith(nil)
				b.settle(3 * b.cfg.BackoffMax)
			})
		})
	}
}

// These failures can have causes other than a wrong address.
func TestOtherFailuresAreNoWrongAddress(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, io.ErrUnexpectedEOF, syscall.ECONNRESET} {
		inBubble(t, nil, func(b *bubble) {
			b.breakWith(err)
			b.many(10)
			time.Sleep(time.Hour)
			if o := b.client.Status().Outage; o.Unreachable || o.Attempts < 60 {
				t.Errorf("%v: %+v", err, o)
			}
			b.breakWith(nil)
			b.settle(3 * b.cfg.BackoffMax)
			if log := b.log.String(); strings.Contains(log, unreachableEntry) {
				t.Error(log)
			}
		})
	}
}

func TestOutageHasStartAttemptsAndNextAttempt(t *testing.T) {
	for _, batches := range []int{2, 10} { // the limiter delays attempts only if many batches fail
		inBubble(t, nil, func(b *bubble) { testOutage(b, batches) })
	}
}

func testOutage(b *bubble, batches int) {
	b.many(1)
	b.settle(time.Minute)
	time.Sleep(time.Minute)
	if o := b.client.Status().Outage; o != (Outage{}) {
		b.t.Errorf("before: %+v", o)
	}
	b.ld.Down(ldtest.Fault{Status: 500})
	started := time.Now()
	b.many(batches)
	for range 100 {
		requests := len(b.requests(0)) - 1
		o := b.client.Status().Outage
		if !o.Since.Equal(started) || o.Attempts != requests || !o.Next.After(time.Now()) ||
			o.Cause != "500 Internal Server Error" || o.Unreachable {
			b.t.Fatalf("after %d requests: %+v", requests, o)
		}
		time.Sleep(time.Until(o.Next) - time.Nanosecond)
		if n := len(b.requests(0)) - 1; n != requests {
			b.t.Fatalf("%d requests before the next one was due", n-requests)
		}
		time.Sleep(time.Nanosecond)
		if n := len(b.requests(0)) - 1; n == requests {
			b.t.Fatalf("no request when it was due")
		}
	}
	b.ld.Up()
	b.settle(b.cfg.BackoffMax)
	if o := b.client.Status().Outage; o != (Outage{}) || len(b.client.delayed) > 0 {
		b.t.Errorf("after: %+v, %d jobs in backoff", o, len(b.client.delayed))
	}
}

// A replica without partitions cannot find out whether the outage has ended.
func TestOutageEndsWithTheLastDelivery(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.breakWith(refused())
		b.many(10)
		time.Sleep(time.Hour)
		b.cancel()
		b.unfinished()
		if o := b.client.Status().Outage; o != (Outage{}) {
			t.Errorf("%+v", o)
		}
	})
}

// Response bodies and other texts sent by the server can quote events, so only the log contains
// them.
func TestStatusQuotesNoResponse(t *testing.T) {
	const quote = "user-key-of-somebody"
	for _, status := range []int{400, 401, 500, 503} {
		inBubble(t, nil, func(b *bubble) {
			b.respondWith(func(r *http.Request) *http.Response {
				response := withStatus(status, r)
				response.Status += " " + quote
				response.Body = io.NopCloser(strings.NewReader(quote))
				return response
			})
			b.many(2 * maxConsecutiveRejects)
			time.Sleep(time.Hour)
			s := b.client.Status()
			text := s.Halt.Cause + s.Halt.Advice + s.Outage.Cause + s.Outage.Advice
			if !strings.Contains(text, http.StatusText(status)) || strings.Contains(text, quote) {
				t.Errorf("%d: %q", status, text)
			}
			if !strings.Contains(b.log.String(), quote) {
				t.Errorf("%d: the log does not contain the response", status)
			}
		})
	}
	inBubble(t, nil, func(b *bubble) {
		b.breakWith(errors.New(`malformed HTTP response "` + quote + `"`))
		b.many(1)
		b.requests(0)
		if o := b.client.Status().Outage; o.Cause != "no valid response" {
			t.Errorf("%+v", o)
		}
	})
}

// A redirect halts delivery even if its target is missing or invalid.
func TestHaltByARedirectNamesTheTarget(t *testing.T) {
	for location, want := range map[string]string{
		"https://user:secret@elsewhere.test/a%20b?secret#secret": "302 Found to elsewhere.test/a%20b",
		"/moved?secret": "302 Found to events.test/moved",
		"":              "302 Found",
		"http://[::1":   "302 Found",
		"http://%zz/":   "302 Found",
		"https://elsewhere.test/" + strings.Repeat("x", 300): "302 Found to elsewhere.test/" +
			strings.Repeat("x", maxExcerptBytes-len("elsewhere.test/")),
	} {
		inBubble(t, nil, func(b *bubble) {
			b.respondWith(func(r *http.Request) *http.Response {
				response := withStatus(302, r)
				response.Header.Set("Location", location)
				return response
			})
			b.many(1)
			b.requests(0)
			if h := b.client.Halted(); h.Cause != want || h.Advice != redirectAdvice {
				t.Errorf("%s: %+v", location, h)
			}
			target, log := strings.TrimPrefix(want, "302 Found to "), b.log.String()
			if !strings.Contains(want, " to ") != !strings.Contains(log, `"location":"`+target+`"`) ||
				strings.Contains(log, "secret") || !strings.Contains(log, redirectAdvice) {
				t.Errorf("%s: %s", location, log)
			}
		})
	}
}

func TestNetworkAdviceOnTimeout(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, &net.OpError{Op: "dial", Err: timeoutError{}}} {
		if got := NetworkAdvice(err, "kafka.brokers", ""); !strings.HasPrefix(got, "The server did not respond in time") {
			t.Errorf("%v: %s", err, got)
		}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

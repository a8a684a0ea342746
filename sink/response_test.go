package sink

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// These tables list examples of each outcome, independently of classify.
var (
	acceptedStatuses = []int{200, 201, 202, 204, 299}
	haltedStatuses   = []int{300, 301, 302, 303, 304, 307, 308, 399, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411,
		412, 414, 415, 418, 428, 431, 451, 499}
	retryableStatuses = []int{408, 429, 500, 501, 502, 503, 504, 511, 599, 999}
	rejectedStatuses  = []int{400, 413, 422}
)

// Single events cover every outcome, because every split ends with them.
func TestEachStatusHasItsOutcome(t *testing.T) {
	onEachEndpoint(t, func(b *bubble) {
		for _, status := range acceptedStatuses {
			since := len(b.requests(0))
			b.ld.Script(ldtest.Fault{Status: status, Accepted: true})
			b.deliver(b.batch(1))
			if b.unfinished() != 0 || len(b.requests(since)) != 1 {
				b.t.Errorf("%d: not delivered with one request", status)
			}
		}
		for _, status := range haltedStatuses {
			since := len(b.requests(0))
			b.ld.Script(ldtest.Fault{Status: status})
			started := time.Now()
			b.deliver(b.batch(1))
			if b.unfinished() != 1 || b.client.Halted().Since != started {
				b.t.Errorf("%d: not halted: %v", status, b.client.Halted())
			}
			if took := b.settle(maxProbeInterval); took < maxProbeInterval/2 || len(b.requests(since)) != 2 {
				b.t.Errorf("%d: delivered after %v, want one more probe after a long wait", status, took)
			}
			if !b.client.Halted().Since.IsZero() {
				b.t.Errorf("%d: still halted after a success", status)
			}
		}
		for _, status := range retryableStatuses {
			since := len(b.requests(0))
			b.ld.Script(ldtest.Fault{Status: status})
			b.deliver(b.batch(1))
			if took := b.settle(b.cfg.BackoffMax); took > b.cfg.BackoffMin {
				b.t.Errorf("%d: retried after %v, want at most %v", status, took, b.cfg.BackoffMin)
			}
			if r := b.requests(since); len(r) != 2 || r[0].PayloadID != r[1].PayloadID {
				b.t.Errorf("%d: %v, want the same request twice", status, r)
			}
		}
		if n := len(b.rejected()); n > 0 {
			b.t.Errorf("%d events were set aside without being rejected", n)
		}
		for i, status := range rejectedStatuses {
			since := len(b.requests(0))
			b.ld.Down(ldtest.Fault{Status: status})
			batch := b.batch(1)
			b.deliver(batch)
			b.settle(b.cfg.BackoffMin)
			b.ld.Up()
			attempts := 2
			if status == 413 {
				attempts = 1
			}
			if r := b.requests(since); len(r) != attempts {
				b.t.Errorf("%d: %d attempts, want %d", status, len(r), attempts)
			}
			if len(b.rejected()) != i+1 {
				b.t.Fatalf("%d: the event was not set aside", status)
			}
			r := b.rejections[i]
			if want := event(b.cfg.Schema, b.numbers(batch)[0], 0); r.Batch != batch || r.Event != 0 || r.Status != status ||
				string(r.Body) != string(want) || r.Excerpt == "" {
				b.t.Errorf("%d: rejection %+v", status, r)
			}
			if !b.client.Halted().Since.IsZero() {
				b.t.Errorf("%d: halted", status)
			}
		}
		if err := b.deliveryErrors(); err != nil {
			b.t.Error(err)
		}
	})
}

func TestEveryStatusHasAVerdict(t *testing.T) {
	for status := 200; status < 1000; status++ {
		want := halted
		switch {
		case status < 300:
			want = accepted
		case status == 400 || status == 422:
			want = rejected
		case status == 413:
			want = tooLarge
		case status >= 500 || slices.Contains(retryableStatuses, status):
			want = retryable
		}
		if got := classify(status); got != want {
			t.Errorf("%d: verdict %v, want %v", status, got, want)
		}
	}
}

func TestRetryAfterIsParsedInBothForms(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":     0,
		"0":    0,
		"1":    time.Second,
		"120":  2 * time.Minute,
		"3600": time.Hour,
		"3601": time.Hour,
		// These values overflow 32 bits and a Duration in seconds.
		"4294967297":                        time.Hour,
		"18446744073709551615":              time.Hour,
		"-1":                                0,
		"1.5":                               0,
		"soon":                              0,
		"Wed, 01 Jul 2026 12:00:30 GMT":     30 * time.Second,
		"Wednesday, 01-Jul-26 12:01:00 GMT": time.Minute,     // RFC 850
		"Wed Jul  1 12:02:00 2026":          2 * time.Minute, // asctime
		"Wed, 01 Jul 2026 11:59:30 GMT":     0,
		"Thu, 01 Jul 2027 12:00:00 GMT":     time.Hour,
	} {
		header := http.Header{"Retry-After": {value}}
		if got := RetryAfter(header, now); got != want {
			t.Errorf("Retry-After: %s: %v, want %v", value, got, want)
		}
	}
	if got := RetryAfter(http.Header{}, now); got != 0 {
		t.Errorf("no header: %v", got)
	}
}

func TestRetryAfterIsObserved(t *testing.T) {
	for _, status := range []int{429, 503} {
		for fault, least := range map[ldtest.Fault]time.Duration{
			{Status: status, RetryAfter: "120"}:             2 * time.Minute,
			{Status: status, RetryIn: 5 * time.Minute}:      5*time.Minute - time.Second, // dates are in whole seconds
			{Status: status, RetryAfter: "86400"}:           time.Hour,
			{Status: status, RetryIn: 24 * 365 * time.Hour}: time.Hour,
		} {
			t.Run(fault.String(), func(t *testing.T) {
				inBubble(t, nil, func(b *bubble) {
					b.ld.Script(fault)
					first := b.batch(10)
					b.deliver(first)
					b.requests(0)
					others := []*Batch{b.batch(1), b.batch(1), b.batch(1)} // Retry-After applies to every batch
					b.deliver(others...)
					took := b.settle(2 * time.Hour)
					if took < least || took > least+time.Second {
						t.Errorf("delivered after %v, want %v", took, least)
					}
					requests := b.requests(0)
					for i, r := range requests {
						if since := r.Time.Sub(requests[0].Time); i > 0 && since < least {
							t.Errorf("request %d was sent after %v, want at least %v", i, since, least)
						}
					}
					if len(requests) != 5 {
						t.Errorf("%d requests, want 5", len(requests))
					}
				})
			})
		}
	}
}

// The clocks of client and server may differ, and Retry-After refers to the server's clock.
func TestRetryAfterDateRefersToTheServersClock(t *testing.T) {
	const wait = 5 * time.Minute
	for _, c := range []struct {
		ahead time.Duration // of the server's clock
		date  string        // Date header; "": the server's clock
		want  time.Duration
	}{
		{time.Hour, "", wait},
		{-time.Hour, "", wait},
		{0, "none", wait},
		{0, "yesterday", wait},
		{time.Minute, "none", wait + time.Minute},
		{time.Minute, "yesterday", wait + time.Minute},
	} {
		t.Run(fmt.Sprint(c.ahead, c.date), func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				b.respondWith(func(r *http.Request) *http.Response {
					b.respondWith(nil)
					now := time.Now().Add(c.ahead).UTC()
					response := withStatus(http.StatusServiceUnavailable, r)
					response.Header.Set("Retry-After", now.Add(wait).Format(http.TimeFormat))
					switch c.date {
					case "none":
					case "":
						response.Header.Set("Date", now.Format(http.TimeFormat))
					default:
						response.Header.Set("Date", c.date)
					}
					return response
				})
				b.deliver(b.batch(1))
				if took := b.settle(2 * time.Hour); took != c.want { // virtual time starts at a whole second
					t.Errorf("delivered after %v, want %v", took, c.want)
				}
			})
		})
	}
}

// The success of a request that was already in flight does not shorten Retry-After.
func TestRetryAfterOutlastsASuccess(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Script(ldtest.Fault{Kind: ldtest.Slow, For: time.Second}, ldtest.Fault{Status: 429, RetryAfter: "60"})
		b.deliver(b.batch(1))
		b.requests(0)
		b.deliver(b.batch(1))
		time.Sleep(2 * time.Second)
		if n := len(b.counted()); n != 1 {
			t.Fatalf("%d events counted, want 1: the test proves nothing", n)
		}
		b.deliver(b.batch(1))
		time.Sleep(50 * time.Second)
		if n := len(b.requests(0)); n != 2 {
			t.Errorf("%d requests before the end of Retry-After, want 2", n)
		}
		b.settle(time.Minute)
	})
}

// A later failure, with or without a shorter Retry-After, does not shorten the first Retry-After.
func TestRetryAfterOutlastsAFailure(t *testing.T) {
	for _, second := range []string{"", "1"} {
		inBubble(t, nil, func(b *bubble) {
			responses := 0
			b.respondWith(func(r *http.Request) *http.Response {
				b.mu.Lock()
				responses++
				n := responses
				b.mu.Unlock()
				response := withStatus(503, r)
				switch n {
				case 1:
					response.Header.Set("Retry-After", "60")
				case 2:
					time.Sleep(time.Second)
					response.Header.Set("Retry-After", second)
				default:
					return nil
				}
				return response
			})
			started := time.Now()
			b.many(2)
			time.Sleep(2 * time.Second)
			b.many(1)
			b.settle(2 * time.Minute)
			for _, r := range b.requests(0) {
				if after := r.Time.Sub(started); after < time.Minute {
					t.Errorf("second Retry-After %q: request after %v", second, after)
				}
			}
		})
	}
}

func TestRetryAfterIsIgnoredForOtherStatuses(t *testing.T) {
	for _, status := range []int{401, 408, 500, 502, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				b.ld.Script(ldtest.Fault{Status: status, RetryAfter: "3000"})
				b.deliver(b.batch(1))
				b.settle(b.cfg.BackoffMax)
			})
		})
	}
}

package sink

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// tokens provides an access token that can change.
type tokens struct {
	mu    sync.Mutex // guards the fields below
	token string
	err   error
	reads int
}

func (s *tokens) read() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return s.token, s.err
}

func (s *tokens) set(token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.err = token, err
}

// count returns how often the token was read.
func (s *tokens) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// withTokens runs a test with an access token that can change.
func withTokens(t *testing.T, token string, err error, test func(b *bubble, s *tokens)) {
	t.Helper()
	s := &tokens{token: token, err: err}
	inBubble(t, func(c *Config) {
		endpoints[2].change(c)
		c.AccessToken = s.read
	}, func(b *bubble) { test(b, s) })
}

func TestRotatedTokenEndsAHaltSoon(t *testing.T) {
	for _, err := range []error{nil, errors.New("no such file")} {
		withTokens(t, "api-revoked", err, func(b *bubble, s *tokens) {
			b.many(50)
			b.requests(0)
			if b.client.Halted().Since.IsZero() {
				t.Error("not halted: the test proves nothing")
			}
			time.Sleep(200 * time.Millisecond)
			s.set(ldtest.Sample.Token, nil)
			if took := b.settle(b.cfg.BackoffMax); took > credentialsInterval {
				t.Errorf("delivered %v after the token changed", took)
			}
			if h := b.client.Halted(); !h.Since.IsZero() {
				t.Errorf("still halted: %+v", h)
			}
		})
	}
}

// Requests sent with the previous token fail after the token has changed.
func TestRotationDuringRequestsEndsAHaltSoon(t *testing.T) {
	withTokens(t, "api-revoked", nil, func(b *bubble, s *tokens) {
		b.respondWith(func(*http.Request) *http.Response {
			time.Sleep(2 * time.Second)
			return nil
		})
		b.many(50)
		time.Sleep(time.Second)
		s.set(ldtest.Sample.Token, nil)
		time.Sleep(time.Second)
		b.requests(0)
		if b.client.Halted().Since.IsZero() {
			t.Error("not halted: the test proves nothing")
		}
		b.respondWith(nil)
		if took := b.settle(b.cfg.BackoffMax); took > credentialsInterval {
			t.Errorf("delivered after %v", took)
		}
	})
}

// A token is tried once per change, and is polled only while delivery is halted.
func TestTokenIsPolledWhileHaltedAndTriedOncePerChange(t *testing.T) {
	withTokens(t, ldtest.Sample.Token, nil, func(b *bubble, s *tokens) {
		idle := func() {
			b.requests(0)
			before := s.count()
			time.Sleep(time.Hour)
			if n := s.count() - before; n != 0 {
				t.Errorf("token read %d times while not halted", n)
			}
		}
		b.many(1)
		idle()
		s.set("api-revoked", nil)
		b.many(20)
		requests := len(b.requests(0))
		before := s.count()
		time.Sleep(2500 * time.Millisecond)
		if n := s.count() - before; n != 2 {
			t.Errorf("token read %d times in 2.5 s while halted", n)
		}
		s.set("", errors.New("no such file"))
		time.Sleep(time.Second)
		s.set("api-revoked", nil)
		time.Sleep(time.Second) // no probe is due before maxProbeInterval/2
		if n := len(b.requests(requests)); n != 0 {
			t.Errorf("%d requests without a new token", n)
		}
		s.set("api-also-revoked", nil)
		time.Sleep(4 * time.Second)
		if n := len(b.requests(requests)); n != 1 {
			t.Errorf("%d requests with a new token, want 1", n)
		}
		s.set(ldtest.Sample.Token, nil)
		b.settle(2 * credentialsInterval)
		idle()
	})
}

// A new token is tried once. After that, the response decides when to send the next request.
func TestNewTokenDoesNotShortenTheBackoffOfAnOutage(t *testing.T) {
	withTokens(t, "api-revoked", nil, func(b *bubble, s *tokens) {
		b.many(50)
		b.requests(0)
		b.ld.Down(ldtest.Fault{Status: 500})
		s.set(ldtest.Sample.Token, nil)
		time.Sleep(time.Hour)
		b.requests(0)
		if n := b.requestsWith(500); n < 600 || n > 900 { // 720 expected
			t.Errorf("%d requests in an hour", n)
		}
		b.ld.Up()
		b.settle(2 * b.cfg.BackoffMax)
	})
}

// Reading a token may take longer than the halt.
func TestTokenReadAfterAHaltChangesNothing(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.ld.Down(ldtest.Fault{Status: 500})
		b.many(50)
		time.Sleep(10 * time.Minute)
		b.requests(0)
		b.client.mu.Lock()
		probe := b.client.limiter.nextProbe
		b.client.mu.Unlock()
		b.client.tryCredentials(credentials{"Authorization": "api-new"})
		b.client.mu.Lock()
		defer b.client.mu.Unlock()
		if b.client.limiter.nextProbe != probe || b.client.rejectedCredentials != nil {
			t.Error("a token was tried while not halted")
		}
	})
}

// If the token cannot be read, no batch is at fault, even if others were accepted in the meantime.
func TestUnreadableTokenHaltsEachTime(t *testing.T) {
	unreadable := errors.New("no such file")
	withTokens(t, "", unreadable, func(b *bubble, s *tokens) {
		b.many(1)
		b.requests(0)
		b.respondWith(func(*http.Request) *http.Response {
			time.Sleep(5 * time.Second)
			return nil
		})
		s.set(ldtest.Sample.Token, nil)
		b.many(1) // sent first, because it was never rejected
		time.Sleep(3 * time.Second)
		s.set("", unreadable)
		time.Sleep(4 * time.Second)
		b.requests(0)
		if n := len(b.counted()); n != 1 || b.client.Halted().Since.IsZero() || b.gauge("halts_total") != 2 {
			t.Errorf("%d events counted, halted %+v", n, b.client.Halted())
		}
		s.set(ldtest.Sample.Token, nil)
		b.settle(b.cfg.BackoffMax)
	})
}

// A token may be read from a file system that hangs.
func TestCloseWaitsForTheReadOfAToken(t *testing.T) {
	var begun, ended atomic.Int32
	inBubble(t, func(c *Config) {
		endpoints[2].change(c)
		c.AccessToken = func() (string, error) {
			begun.Add(1)
			defer ended.Add(1)
			if begun.Load() > 1 {
				time.Sleep(time.Minute)
			}
			return "api-revoked", nil
		}
	}, func(b *bubble) {
		b.deliver(b.batch(1))
		time.Sleep(2 * credentialsInterval)
		b.cancel()
		b.client.Close()
		if begun.Load() != 2 || ended.Load() != 2 {
			t.Errorf("%d of %d reads finished when Close returned, want 2", ended.Load(), begun.Load())
		}
	})
}

func TestHeadersAreSentAndRedactedAndReplaceNoOthers(t *testing.T) {
	onEachEndpoint(t, func(b *bubble) {
		b.client.cfg.Headers = func() (map[string]string, error) {
			return map[string]string{
				"X-Gateway-Key": "Bearer gateway-secret", "X-Prefix": "gateway", "X-Short": "1", "Content-Type": "text/plain",
				"X-LaunchDarkly-Payload-ID": "other",
			}, nil
		}
		b.respondWith(func(r *http.Request) *http.Response {
			if got := r.Header.Get("X-Gateway-Key"); got != "Bearer gateway-secret" {
				b.t.Errorf("X-Gateway-Key %q", got)
			}
			if got := r.Header.Get("Content-Type"); got != "application/json" {
				b.t.Errorf("Content-Type %q", got)
			}
			if got := r.Header[http.CanonicalHeaderKey(headerPayloadID)]; len(got) != 1 || got[0] == "other" {
				b.t.Errorf("payload ID %q", got)
			}
			return &http.Response{
				StatusCode: http.StatusForbidden, Header: http.Header{},
				Body: io.NopCloser(strings.NewReader("key gateway-secret denied 1 time")),
			}
		})
		b.many(1)
		b.requests(0)
		if b.client.Halted().Since.IsZero() {
			b.t.Error("not halted: the test proves nothing")
		}
		log := b.log.String()
		if strings.Contains(log, "gateway-secret") || !strings.Contains(log, "key [redacted] denied 1 time") {
			b.t.Errorf("log:\n%s", log)
		}
		b.respondWith(nil)
		b.settle(b.cfg.BackoffMax)
	})
}

// The credentials of a gateway can be rotated too, for either endpoint.
func TestRotatedHeaderEndsAHaltSoon(t *testing.T) {
	s := &tokens{token: "old"}
	inBubble(t, func(c *Config) {
		c.Headers = func() (map[string]string, error) {
			key, err := s.read()
			return map[string]string{"X-Gateway-Key": key}, err
		}
	}, func(b *bubble) {
		b.respondWith(func(r *http.Request) *http.Response {
			if r.Header.Get("X-Gateway-Key") == "new" {
				return nil
			}
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody}
		})
		b.many(50)
		b.requests(0)
		if b.client.Halted().Since.IsZero() {
			t.Error("not halted: the test proves nothing")
		}
		s.set("", errors.New("no such file"))
		time.Sleep(3 * credentialsInterval)
		s.set("new", nil)
		if took := b.settle(b.cfg.BackoffMax); took > credentialsInterval {
			t.Errorf("delivered %v after the header changed", took)
		}
	})
}

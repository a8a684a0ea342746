package sink

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestRequestsHaveTheHeadersOfTheirEndpoint(t *testing.T) {
	bulk := "/events/bulk/" + ldtest.Sample.ClientSideID
	for i, want := range []struct{ path, schema, agent, token string }{
		{bulk, "3", "segment-to-launchdarkly/1.2.3", ""},
		{bulk, "4", "segment-to-launchdarkly/1.2.3", ""},
		{"/v2/event-data-import/sample-project/test", "4", "MetricImport-SegmentToLaunchDarkly-int/1.2.3",
			ldtest.Sample.Token},
	} {
		for _, compress := range []bool{true, false} {
			inBubble(t, endpoints[i].change, func(b *bubble) {
				b.deliver(b.batchOf(7, 7, 100, compress))
				requests := b.requests(0)
				if len(requests) != 1 {
					t.Fatalf("%d requests", len(requests))
				}
				r := requests[0]
				encoding := ""
				if compress {
					encoding = "gzip"
				}
				for name, value := range map[string]string{
					"Content-Type": "application/json", "Content-Encoding": encoding, "Authorization": want.token,
					headerSchema: want.schema, "User-Agent": want.agent,
				} {
					if got := r.Header.Get(name); got != value {
						t.Errorf("%s: %q, want %q", name, got, value)
					}
				}
				if id, err := uuid.Parse(r.Header.Get(headerPayloadID)); err != nil || id.Version() != 5 {
					t.Errorf("payload ID %q: %v", r.Header.Get(headerPayloadID), err)
				}
				if r.Method != http.MethodPost || r.Path != want.path || r.Events != 7 || r.Status != 202 {
					t.Errorf("%s %s, %d events: %d", r.Method, r.Path, r.Events, r.Status)
				}
			})
		}
	}
}

func TestURLIsEscapedAndExact(t *testing.T) {
	token := func() (string, error) { return "", nil }
	client := func(eventsURL, id string) Config {
		return Config{EventsURL: eventsURL, Endpoint: ClientSide, ClientSideID: id}
	}
	imports := func(project, environment string, token func() (string, error), schema int) Config {
		return Config{
			EventsURL: "https://h", Endpoint: MetricImport, ProjectKey: project, EnvironmentKey: environment,
			AccessToken: token, Schema: schema,
		}
	}
	for _, c := range []struct {
		cfg  Config
		want string // "": error
	}{
		{client("https://events.launchdarkly.com", "abc"), "https://events.launchdarkly.com/events/bulk/abc"},
		{client("http://[::1]:8080", "a/b?c#d e"), "http://[::1]:8080/events/bulk/a%2Fb%3Fc%23d%20e"},
		{imports("p/q", "e", token, 4), "https://h/v2/event-data-import/p%2Fq/e"},
		{imports("p", "e", token, 3), ""},
		{imports("p", "e", nil, 4), ""},
		{imports("p", "", token, 4), ""},
		{imports("", "e", token, 4), ""},
		{client("https://h", ""), ""},
		{Config{EventsURL: "https://h", Endpoint: "server_side", ClientSideID: "abc"}, ""},
		{client("", "abc"), ""},
		{client("h", "abc"), ""},
		{client("ftp://h", "abc"), ""},
		{client("https://", "abc"), ""},
		{client("https://h/", "abc"), ""},
		{client("https://h/path", "abc"), ""},
		{client("https://h?q", "abc"), ""},
		{client("https://h#f", "abc"), ""},
		{client("https://h:port", "abc"), ""},
		{client("https://user:hidden@h", "abc"), ""},
	} {
		got, err := c.cfg.url()
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v, want %q", c.cfg, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error contains the password: %v", err)
		}
	}
}

// Payload IDs are the same for two URLs of an environment, and different for two environments.
func TestPayloadIDDependsOnTheEnvironmentAndNotTheURL(t *testing.T) {
	id := func(eventsURL string, change func(*Config)) (id string) {
		inBubble(t, func(c *Config) {
			c.EventsURL, c.Schema = eventsURL, 4
			change(c)
		}, func(b *bubble) {
			b.respondWith(func(r *http.Request) *http.Response {
				id = r.Header.Get(headerPayloadID)
				return withStatus(202, r)
			})
			b.client.Deliver(b.ctx, Delivery{Batch: b.batch(1), Done: func(error) {}})
			b.requests(0)
		})
		return id
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*Config){
		"client-side ID":         func(c *Config) { c.ClientSideID = "a" },
		"another client-side ID": func(c *Config) { c.ClientSideID = "a/b" },
		"a third":                func(c *Config) { c.ClientSideID = "a%2Fb" },
		"import":                 func(c *Config) { endpoints[2].change(c); c.ProjectKey, c.EnvironmentKey = "a", "b" },
		"another boundary":       func(c *Config) { endpoints[2].change(c); c.ProjectKey, c.EnvironmentKey = "a/b", "b" },
		"a third boundary":       func(c *Config) { endpoints[2].change(c); c.ProjectKey, c.EnvironmentKey = "a", "b/b" },
	} {
		one, two := id("http://127.0.0.1:41080", change), id("http://localhost:41080", change)
		if one != two {
			t.Errorf("%s: payload ID %s for the IP address, %s for the name", name, one, two)
		}
		if other, ok := seen[one]; ok {
			t.Errorf("%s and %s share payload ID %s", name, other, one)
		}
		seen[one] = name
	}
}

func TestNewReturnsAnErrorForAnInvalidConfig(t *testing.T) {
	good := Config{
		EventsURL: "https://h", Endpoint: ClientSide, ClientSideID: "abc", Schema: 3, Version: "1", MaxInFlight: 1,
		Timeout: time.Second, BackoffMin: time.Second, BackoffMax: time.Second,
	}
	c, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Address(); got != "https://h/events/bulk/abc" {
		t.Errorf("address %q", got)
	}
	c.Close()
	for name, spoil := range map[string]func(*Config){
		"address":      func(c *Config) { c.EventsURL = "" },
		"schema":       func(c *Config) { c.Schema = 2 },
		"no version":   func(c *Config) { c.Version = "" },
		"two words":    func(c *Config) { c.Version = "1.0 (devel)" },
		"in flight":    func(c *Config) { c.MaxInFlight = 0 },
		"timeout":      func(c *Config) { c.Timeout = 0 },
		"backoff":      func(c *Config) { c.BackoffMin = 0 },
		"backoff most": func(c *Config) { c.BackoffMax = c.BackoffMin - 1 },
	} {
		bad := good
		spoil(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRotatedTokenIsUsedByTheNextAttempt(t *testing.T) {
	var token atomic.Value
	token.Store("api-revoked")
	inBubble(t, func(c *Config) {
		endpoints[2].change(c)
		c.AccessToken = func() (string, error) { return token.Load().(string), nil }
	}, func(b *bubble) {
		b.deliver(b.batch(3))
		if r := b.requests(0); r[0].Status != 401 || b.client.Halted().Since.IsZero() {
			t.Errorf("a revoked token: %d, halted %v", r[0].Status, b.client.Halted())
		}
		token.Store(ldtest.Sample.Token)
		b.settle(b.cfg.BackoffMax)
		if log := b.log.String(); strings.Contains(log, "api-") {
			t.Errorf("the log contains a token: %s", log)
		}
	})
}

func TestUnusableTokenHalts(t *testing.T) {
	for want, read := range map[string]func() (string, error){
		"no such file":      func() (string, error) { return "", errors.New("open token: no such file") },
		"control character": func() (string, error) { return "api-1\n2", nil },
	} {
		var usable atomic.Bool
		inBubble(t, func(c *Config) {
			endpoints[2].change(c)
			c.AccessToken = func() (string, error) {
				if !usable.Load() {
					return read()
				}
				return ldtest.Sample.Token, nil
			}
		}, func(b *bubble) {
			b.deliver(b.batch(3))
			if len(b.requests(0)) != 0 {
				t.Error("request sent without a token")
			}
			if h := b.client.Halted(); h.Since.IsZero() || !strings.Contains(h.Cause, want) ||
				strings.Contains(h.Cause, "api-") {
				t.Errorf("halted: %+v", h)
			}
			usable.Store(true)
			b.settle(b.cfg.BackoffMax)
		})
	}
}

// Some proxies echo the request in their response.
func TestEchoedTokenIsRedacted(t *testing.T) {
	inBubble(t, endpoints[2].change, func(b *bubble) {
		b.respondWith(func(r *http.Request) *http.Response {
			response := withStatus(401, r)
			text := strings.Repeat("x", maxExcerptBytes-10) + r.Header.Get("Authorization") + " has no access"
			response.Body = io.NopCloser(strings.NewReader(text))
			return response
		})
		b.deliver(b.batch(1))
		b.requests(0)
		for _, text := range []string{b.client.Halted().Cause, b.log.String()} {
			if !strings.Contains(text, "401") || strings.Contains(text, "api-") {
				t.Errorf("want 401 and no token: %s", text)
			}
		}
	})
}

// After 101 the body is the raw connection, and reading it could block forever.
func TestSwitchedProtocolsDoNotHang(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		switched := false
		b.respondWith(func(r *http.Request) *http.Response {
			if switched {
				return nil
			}
			switched = true
			response := withStatus(101, r)
			response.Body, _ = io.Pipe()
			return response
		})
		b.deliver(b.batch(1))
		b.settle(time.Minute)
	})
}

func TestExcerptIsOneShortLineOfText(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"{\n  \"code\": \"x\"\r\n}\t":  `{ "code": "x" }`,
		"\xff\xfe":                     "?",
		strings.Repeat("é", 1000):      strings.Repeat("é", maxExcerptBytes/2),
		"a" + strings.Repeat("é", 500): "a" + strings.Repeat("é", maxExcerptBytes/2-1) + "?",
	} {
		if got := excerpt(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLongResponseIsNotReadToItsEnd(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.respondWith(func(r *http.Request) *http.Response {
			response := withStatus(429, r)
			response.Body = io.NopCloser(endless{})
			b.respondWith(nil)
			return response
		})
		b.deliver(b.batch(1))
		b.settle(time.Minute)
	})
}

// endless is a response body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

package sink

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Endpoint selects the LaunchDarkly API that receives the events.
type Endpoint string

const (
	// ClientSide is POST /events/bulk/{client-side ID}. It supports schemas 3 and 4 and needs no
	// credentials.
	ClientSide Endpoint = "client_side"
	// MetricImport is POST /v2/event-data-import/{project}/{environment}. It supports only schema 4
	// and needs an access token that allows the importEventData action.
	MetricImport Endpoint = "metric_import"
)

// Config configures a [Client]. All fields without a stated default are required.
type Config struct {
	// EventsURL is the scheme and host of the events service, without a trailing slash.
	EventsURL string
	// Endpoint selects the API. It determines which of the fields below apply.
	Endpoint Endpoint

	// ClientSideID identifies the environment for ClientSide.
	ClientSideID string

	// ProjectKey and EnvironmentKey identify the environment for MetricImport.
	ProjectKey     string
	EnvironmentKey string
	// AccessToken returns the token for MetricImport. It is called before each request, and every
	// second while the client is halted, so that the token can be rotated. It must be safe for
	// concurrent use.
	AccessToken func() (string, error)

	// Schema is the version of the event schema, 3 or 4. MetricImport supports only 4.
	Schema int
	// Version is the version of this program, for the User-Agent header. It must be a single word.
	Version string

	// MaxInFlight is the maximum number of concurrent requests. It must be at least 1.
	MaxInFlight int
	// Timeout bounds a single attempt, from dialing to the end of the response.
	Timeout time.Duration
	// BackoffMin is the upper bound of the first backoff.
	BackoffMin time.Duration
	// BackoffMax is the upper bound of every backoff.
	BackoffMax time.Duration

	// Transport sends the requests. The client never follows redirects. Nil means a transport with
	// settings suited to this client.
	Transport http.RoundTripper
	// Metrics receives the client's metrics. Nil means metrics that are not exported.
	Metrics *Metrics
	// Log receives the client's log. Nil disables logging.
	Log *zap.Logger
}

// validate checks the fields that are not part of the URL.
func (c *Config) validate() error {
	switch {
	case c.Schema != 3 && c.Schema != 4:
		return fmt.Errorf("event schema: must be 3 or 4, got %d", c.Schema)
	case c.Version == "" || strings.ContainsAny(c.Version, " \t\r\n"):
		return fmt.Errorf("version: must be a single word, got %q", c.Version)
	case c.MaxInFlight < 1:
		return fmt.Errorf("max in flight: must be at least 1, got %d", c.MaxInFlight)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout: must be positive, got %v", c.Timeout)
	case c.BackoffMin <= 0:
		return fmt.Errorf("backoff min: must be positive, got %v", c.BackoffMin)
	case c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("backoff max: must be at least backoff min (%v), got %v", c.BackoffMin, c.BackoffMax)
	}
	return nil
}

// destination returns the identity of the environment that receives the events, for use in payload
// IDs. An environment may have several URLs, and an event counts once regardless of the URL it is
// sent to. The keys are escaped, so that two different environments never produce the same string.
// Like [namespace], the format must never change.
func (c *Config) destination() string {
	if c.Endpoint == ClientSide {
		return string(ClientSide) + "/" + url.PathEscape(c.ClientSideID)
	}
	return string(MetricImport) + "/" + url.PathEscape(c.ProjectKey) + "/" + url.PathEscape(c.EnvironmentKey)
}

// url returns the URL that requests are sent to.
func (c *Config) url() (string, error) {
	u, err := url.Parse(c.EventsURL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.Scheme+"://"+u.Host != c.EventsURL: // no error may quote it, because it could hold a password
		return "", errors.New("events URL: must be a scheme and a host, such as https://events.launchdarkly.com")
	case c.Endpoint == ClientSide && c.ClientSideID == "":
		return "", errors.New("endpoint client_side: client-side ID is required")
	case c.Endpoint == ClientSide:
		return u.JoinPath("events", "bulk", url.PathEscape(c.ClientSideID)).String(), nil
	case c.Endpoint != MetricImport:
		return "", fmt.Errorf("endpoint: must be client_side or metric_import, got %q", c.Endpoint)
	case c.ProjectKey == "" || c.EnvironmentKey == "" || c.AccessToken == nil:
		return "", errors.New("endpoint metric_import: project key, environment key, and access token are required")
	case c.Schema != 4:
		return "", fmt.Errorf("endpoint metric_import: event schema must be 4, got %d", c.Schema)
	default:
		project, environment := url.PathEscape(c.ProjectKey), url.PathEscape(c.EnvironmentKey)
		return u.JoinPath("v2", "event-data-import", project, environment).String(), nil
	}
}

// maxHeaderBytes limits the headers of a response. Go's default is 10 MiB.
const maxHeaderBytes = 64 << 10

// newTransport returns a transport that keeps one connection per in-flight request, detects dead
// connections, and limits the memory used by a response.
//
// Over HTTP/2 all requests share a connection, and a request that times out leaves it open. Pings
// detect a dead connection within one timeout, or within 2 s if the timeout is shorter.
func newTransport(maxInFlight int, timeout time.Duration) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = maxInFlight
	t.MaxIdleConnsPerHost = maxInFlight
	t.MaxResponseHeaderBytes = maxHeaderBytes // applies to HTTP/2 as well
	t.HTTP2 = &http.HTTP2Config{
		SendPingTimeout:           max(min(timeout/2, 15*time.Second), time.Second), // idle time before a ping
		PingTimeout:               max(min(timeout/2, 5*time.Second), time.Second),
		MaxReceiveBufferPerStream: maxResponseBytes, // Go's default is 4 MiB
	}
	return t
}

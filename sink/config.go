package sink

import (
	"crypto/tls"
	"crypto/x509"
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
	// ClientSide is POST /events/bulk/{client-side ID}. It supports event schemas 3 and 4 and
	// requires no credentials.
	ClientSide Endpoint = "client_side"
	// MetricImport is POST /v2/event-data-import/{project}/{environment}. It supports only event
	// schema 4 and requires an access token that allows the importEventData action.
	MetricImport Endpoint = "metric_import"
)

// Config configures a [Client]. Fields without a stated default are required.
type Config struct {
	// EventsURL is the scheme and host of the events service, without a trailing slash.
	EventsURL string
	// Endpoint selects the API and determines which of the fields below apply.
	Endpoint Endpoint

	// ClientSideID identifies the environment for ClientSide.
	ClientSideID string

	// ProjectKey and EnvironmentKey identify the environment for MetricImport.
	ProjectKey     string
	EnvironmentKey string
	// AccessToken returns the access token for MetricImport. The client calls it before each
	// request and, while halted, every second, so the token can be rotated. It must be safe for
	// concurrent use.
	AccessToken func() (string, error)

	// Headers returns additional request headers by name, for a gateway in front of LaunchDarkly. It
	// is called as often as AccessToken, and must be safe for concurrent use. It cannot replace the
	// client's own headers. Nil means no additional headers.
	Headers func() (map[string]string, error)

	// Schema is the event schema version, 3 or 4. MetricImport supports only 4.
	Schema int
	// Version is this program's version, which is sent in the User-Agent header. It must be a
	// single word.
	Version string

	// MaxInFlight is the maximum number of concurrent requests. It must be at least 1.
	MaxInFlight int
	// MaxEventsPerSecond limits the rate at which events are sent, across all requests. It delays
	// the start of requests. Zero means no limit.
	MaxEventsPerSecond int
	// Timeout bounds a single attempt, from dialing to the end of the response.
	Timeout time.Duration
	// BackoffMin is the upper bound of the first backoff.
	BackoffMin time.Duration
	// BackoffMax is the upper bound of every backoff. A bound above 10 s applies only to batches
	// that fail repeatedly while others succeed.
	BackoffMax time.Duration

	// RootCAs contains the certificate authorities trusted for EventsURL. Nil means the system's.
	RootCAs *x509.CertPool
	// Transport sends the requests. The client never follows redirects. Nil means a transport tuned
	// for this client. If Transport is set, the client ignores RootCAs.
	Transport http.RoundTripper
	// Metrics contains the client's metrics. Nil means that they are not exported.
	Metrics *Metrics
	// Log receives the client's log entries. Nil disables logging.
	Log *zap.Logger
}

// validate checks the fields that are not part of the URL.
func (c *Config) validate() error {
	switch {
	case c.Schema != 3 && c.Schema != 4:
		return fmt.Errorf("event_schema: must be 3 or 4, got %d", c.Schema)
	case c.Version == "" || strings.ContainsAny(c.Version, " \t\r\n"):
		return fmt.Errorf("version: must be a single word, got %q", c.Version)
	case c.MaxInFlight < 1:
		return fmt.Errorf("max_in_flight: must be at least 1, got %d", c.MaxInFlight)
	case c.MaxEventsPerSecond < 0:
		return fmt.Errorf("max_events_per_second: must be at least 0, got %d", c.MaxEventsPerSecond)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout: must be positive, got %v", c.Timeout)
	case c.BackoffMin <= 0:
		return fmt.Errorf("backoff_min: must be positive, got %v", c.BackoffMin)
	case c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("backoff_max: must be at least backoff_min (%v), got %v", c.BackoffMin, c.BackoffMax)
	}
	return nil
}

// destination returns the identity of the environment that receives the events. This identity is
// part of every payload ID. The URL is not included, because an environment may have several URLs
// and must count each event only once. The keys are escaped, so different environments never have
// the same identity. Like [namespace], the format must never change.
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
		u.Scheme+"://"+u.Host != c.EventsURL: // the error must not quote the URL, which may contain a password
		return "", errors.New("events_url: must be a scheme and a host, such as https://events.launchdarkly.com")
	case c.Endpoint == ClientSide && c.ClientSideID == "":
		return "", errors.New("client_side_id: must be set for endpoint client_side")
	case c.Endpoint == ClientSide:
		return u.JoinPath("events", "bulk", url.PathEscape(c.ClientSideID)).String(), nil
	case c.Endpoint != MetricImport:
		return "", fmt.Errorf("endpoint: must be client_side or metric_import, got %q", c.Endpoint)
	case c.ProjectKey == "" || c.EnvironmentKey == "" || c.AccessToken == nil:
		return "", errors.New("project_key, environment_key, and access_token: must be set for endpoint metric_import")
	case c.Schema != 4:
		return "", fmt.Errorf("event_schema: must be 4 for endpoint metric_import, got %d", c.Schema)
	default:
		project, environment := url.PathEscape(c.ProjectKey), url.PathEscape(c.EnvironmentKey)
		return u.JoinPath("v2", "event-data-import", project, environment).String(), nil
	}
}

// maxHeaderBytes is the maximum size of the response headers. Go's default is 10 MiB.
const maxHeaderBytes = 64 << 10

// newTransport returns a transport that keeps up to maxInFlight idle connections, detects dead
// connections, and limits the memory used per response.
//
// Over HTTP/2, all requests share one connection, which stays open when a request times out. Pings
// detect a dead connection within the timeout or 2 s, whichever is longer.
func newTransport(maxInFlight int, timeout time.Duration, roots *x509.CertPool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
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

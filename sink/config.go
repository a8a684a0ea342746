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

// Endpoint names the door of LaunchDarkly that takes the events.
type Endpoint string

const (
	// ClientSide is POST /events/bulk/{client-side ID}, schema 3 or 4, without a credential.
	ClientSide Endpoint = "client_side"
	// MetricImport is POST /v2/event-data-import/{project}/{environment}, schema 4,
	// with an access token that may importEventData.
	MetricImport Endpoint = "metric_import"
)

// Config configures a [Client]. All fields without a stated default are required.
type Config struct {
	EventsURL string   // scheme and host, no trailing slash
	Endpoint  Endpoint // which of the fields below apply

	ClientSideID string // client_side

	ProjectKey     string                 // metric_import
	EnvironmentKey string                 // metric_import
	AccessToken    func() (string, error) // metric_import; asked for each request, and every second of a halt, so that it may rotate; called concurrently

	Schema  int    // event schema, 3 or 4; metric_import takes only 4
	Version string // of this program, for User-Agent

	MaxInFlight int           // requests at once; at least 1
	Timeout     time.Duration // of one attempt, from dialing to the end of the answer
	BackoffMin  time.Duration // upper bound of the first wait
	BackoffMax  time.Duration // upper bound of every wait

	Transport http.RoundTripper // nil: one made for this job; its redirects are never followed
	Metrics   *Metrics          // nil: metrics that nobody reads
	Log       *zap.Logger       // nil: silent
}

// check returns what is wrong with the fields that do not make the address.
func (c *Config) check() error {
	switch {
	case c.Schema != 3 && c.Schema != 4:
		return fmt.Errorf("event schema %d: must be 3 or 4", c.Schema)
	case c.Version == "" || strings.ContainsAny(c.Version, " \t\r\n"):
		return fmt.Errorf("version %q: must be one word", c.Version)
	case c.MaxInFlight < 1:
		return fmt.Errorf("%d requests in flight: must be at least 1", c.MaxInFlight)
	case c.Timeout <= 0 || c.BackoffMin <= 0 || c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("timeout %v, backoff %v to %v: must be above 0 and in this order", c.Timeout, c.BackoffMin, c.BackoffMax)
	}
	return nil
}

// destination returns the environment that receives the events, as it goes into
// payload IDs. The environment may have several URLs, and an event counts once whichever
// of them it is sent to. The keys are escaped, so that two environments never read the
// same. The format must never change, for the same reason as [namespace].
func (c *Config) destination() string {
	if c.Endpoint == ClientSide {
		return string(ClientSide) + "/" + url.PathEscape(c.ClientSideID)
	}
	return string(MetricImport) + "/" + url.PathEscape(c.ProjectKey) + "/" + url.PathEscape(c.EnvironmentKey)
}

// url returns the address that requests are posted to.
func (c *Config) url() (string, error) {
	u, err := url.Parse(c.EventsURL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != c.EventsURL:
		return "", errors.New("events URL: must be a scheme and a host and nothing else, such as https://events.launchdarkly.com")
	case c.Endpoint == ClientSide && c.ClientSideID == "":
		return "", errors.New("endpoint client_side needs a client-side ID")
	case c.Endpoint == ClientSide:
		return u.JoinPath("events", "bulk", url.PathEscape(c.ClientSideID)).String(), nil
	case c.Endpoint != MetricImport:
		return "", fmt.Errorf("unknown endpoint %q", c.Endpoint)
	case c.ProjectKey == "" || c.EnvironmentKey == "" || c.AccessToken == nil:
		return "", errors.New("endpoint metric_import needs a project key, an environment key and an access token")
	case c.Schema != 4:
		return "", fmt.Errorf("endpoint metric_import takes event schema 4, not %d", c.Schema)
	default:
		return u.JoinPath("v2", "event-data-import", url.PathEscape(c.ProjectKey), url.PathEscape(c.EnvironmentKey)).String(), nil
	}
}

// headerBytes limits the headers of a response. Go's default is 10 MiB.
const headerBytes = 64 << 10

// newTransport returns a transport that keeps a connection for each request in
// flight, notices dead ones, and limits what a response takes in memory.
//
// Over HTTP/2 all requests share a connection, and one that times out leaves it open. Pings
// find a dead connection within one timeout, or within 2 s if the timeout is shorter.
func newTransport(maxInFlight int, timeout time.Duration) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = maxInFlight
	t.MaxIdleConnsPerHost = maxInFlight
	t.MaxResponseHeaderBytes = headerBytes // of HTTP/2 too
	t.HTTP2 = &http.HTTP2Config{
		SendPingTimeout:           max(min(timeout/2, 15*time.Second), time.Second), // of silence before a ping
		PingTimeout:               max(min(timeout/2, 5*time.Second), time.Second),
		MaxReceiveBufferPerStream: answerBytes, // more is never read; Go's default is 4 MiB
	}
	return t
}

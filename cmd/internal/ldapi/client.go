package ldapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

const (
	requestTimeout = 10 * time.Second
	maxWait        = 30 * time.Second // maximum total wait of a client
	maxAttempts    = 4                // per request, unless a header gives the time to retry
	minBackoff     = 500 * time.Millisecond
	maxJitter      = 250 * time.Millisecond
	maxBodyBytes   = 64 << 20
)

// apiVersion is the API version for reading metrics. Without it, the access token would determine
// the version.
const apiVersion = "20240415"

// Config configures a [Client]. URL, Token, and Version are required.
type Config struct {
	// URL is the base URL, such as https://app.launchdarkly.com, without a trailing slash.
	URL string
	// Token returns the access token. It is called for each request.
	Token func() (string, error)
	// Version is this program's version, which is sent in the User-Agent header.
	Version string
	// RootCAs contains the certificate authorities trusted for URL. Nil means the system's.
	RootCAs *x509.CertPool
	// Transport sends the requests. Nil means a transport that respects HTTPS_PROXY. If Transport is
	// set, the client ignores RootCAs.
	Transport http.RoundTripper
}

// Client sends requests to the API. Create one client per command, because a client limits the
// total time that its requests wait before retries. A client is not safe for concurrent use.
type Client struct {
	cfg    Config
	waited time.Duration // between attempts, in total
}

// New returns a client. It sends no request.
func New(cfg Config) *Client {
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
		cfg.Transport = t
	}
	return &Client{cfg: cfg}
}

// request describes a request for a resource, and the advice on responses that deny it.
type request struct {
	purpose string // such as "list metrics"
	path    string
	query   url.Values
	version string // of the API

	forbidden, notFound string
}

// get sends a request, with retries, and decodes the response.
func (c *Client) get(ctx context.Context, r request, response any) error {
	for attempt := 1; ; attempt++ {
		failure := c.attempt(ctx, r, response)
		if failure == nil {
			return nil
		}
		wait := failure.wait
		switch {
		case !failure.transient || wait > maxWait || wait == 0 && attempt == maxAttempts:
			return failure
		case wait == 0:
			wait = minBackoff << (attempt - 1)
		}
		wait += rand.N(maxJitter)
		if c.waited+wait > maxWait {
			return failure
		}
		c.waited += wait
		select {
		case <-ctx.Done():
			return failure
		case <-time.After(wait):
		}
	}
}

// attempt sends a request once and decodes the response. It calls the transport directly, because
// an [http.Client] would follow redirects.
func (c *Client) attempt(ctx context.Context, r request, response any) *Error {
	token, err := c.cfg.Token()
	if err == nil && (token == "" || strings.ContainsFunc(token, unicode.IsControl)) {
		err = errors.New("must be a single, non-empty line without control characters")
	}
	if err != nil {
		return &Error{text: fmt.Sprintf("%s: access token: %v", r.purpose, err), advice: tokenAdvice, err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.URL+r.path+"?"+r.query.Encode(), nil)
	if err != nil {
		return &Error{text: r.purpose + ": " + err.Error(), advice: urlAdvice, err: err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", token)
	req.Header.Set("LD-API-Version", r.version)
	req.Header.Set("User-Agent", "segment-to-launchdarkly/"+c.cfg.Version)
	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		return networkError(r, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return statusError(r, resp, body, token)
	case err != nil:
		return networkError(r, fmt.Errorf("read the response: %w", err))
	case len(body) > maxBodyBytes:
		return &Error{Status: resp.StatusCode, text: r.purpose + ": the response is larger than 64 MiB"}
	}
	if err := json.Unmarshal(body, response); err != nil {
		return &Error{
			Status: resp.StatusCode, err: err, text: fmt.Sprintf("%s: decode the response: %v", r.purpose, err),
			advice: proxyAdvice,
		}
	}
	return nil
}

// retryIn returns the time to wait before retrying a rate-limited request, or 0 if no header gives
// it. X-Ratelimit-Reset and X-Ratelimit-Auth-Token-Reset contain the times, in Unix milliseconds,
// at which the limits of the account and of the access token reset. Retry-After applies to the
// limit of the IP address.
func retryIn(header http.Header) time.Duration {
	now := time.Now()
	wait := sink.RetryAfter(header, now)
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date // the server's clock can differ from this host's
	}
	for _, name := range []string{"X-Ratelimit-Reset", "X-Ratelimit-Auth-Token-Reset"} {
		if ms, err := strconv.ParseInt(header.Get(name), 10, 64); err == nil {
			wait = max(wait, time.UnixMilli(ms).Sub(now), time.Second) // the time can have passed
		}
	}
	return wait
}

package sink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	headerSchema    = "X-LaunchDarkly-Event-Schema"
	headerPayloadID = "X-LaunchDarkly-Payload-ID"

	maxExcerptBytes  = 256      // limit for response bodies in logs and dead letters
	maxResponseBytes = 64 << 10 // limit for reading a response body
)

// send makes one attempt and returns its outcome.
func (c *Client) send(j *job) response {
	ctx, cancel := context.WithTimeout(j.delivery.ctx, c.cfg.Timeout)
	defer cancel()
	request, err := c.request(ctx, j)
	if err != nil {
		return response{verdict: halted, err: err, excerpt: err.Error()}
	}
	started := time.Now()
	r := c.exchange(request)
	c.metrics.duration.Observe(time.Since(started).Seconds())
	c.metrics.requestEvents.Observe(float64(j.part.events()))
	c.metrics.requestBytes.Observe(float64(len(j.part.body)))
	c.countRequest(r.code())
	return r
}

// exchange sends a request and reads the response. It calls the transport directly, because an
// [http.Client] would follow redirects.
func (c *Client) exchange(request *http.Request) response {
	resp, err := c.cfg.Transport.RoundTrip(request)
	if err != nil {
		return response{verdict: retryable, err: err, excerpt: excerpt([]byte(err.Error()))}
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 { // 101: the body is the raw connection, and reading it can block
		return response{verdict: retryable, excerpt: "unexpected status " + resp.Status}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	token := request.Header.Get("Authorization")
	if token != "" { // some proxies echo request headers
		body = bytes.ReplaceAll(body, []byte(token), []byte("[redacted]"))
	}
	r := response{
		verdict: classify(resp.StatusCode), status: resp.StatusCode, excerpt: excerpt(body), token: token,
		location: RedirectTarget(resp),
	}
	if err != nil && !r.failed() {
		// If the response is truncated, the outcome is unknown. The payload ID makes a retry
		// harmless.
		return response{verdict: retryable, excerpt: fmt.Sprintf("read response with status %d: %v", r.status, err)}
	}
	if r.overloaded() {
		r.retryAfter = parseRetryAfter(resp.Header, time.Now())
	}
	return r
}

// request builds the HTTP request for a job. Requests for the same job can differ only in the
// access token, which can be rotated.
func (c *Client) request(ctx context.Context, j *job) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(j.part.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(headerSchema, strconv.Itoa(c.cfg.Schema))
	r.Header.Set(headerPayloadID, j.id)
	if j.part.compressed {
		r.Header.Set("Content-Encoding", "gzip")
	}
	if c.cfg.Endpoint == ClientSide {
		r.Header.Set("User-Agent", "segment-to-launchdarkly/"+c.cfg.Version)
		return r, nil
	}
	// LaunchDarkly requires the format MetricImport-COMPANY-int/VERSION.
	r.Header.Set("User-Agent", "MetricImport-SegmentToLaunchDarkly-int/"+c.cfg.Version)
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", token)
	return r, nil
}

// excerpt returns the start of a response body as a single line of valid UTF-8.
func excerpt(body []byte) string {
	if len(body) > maxExcerptBytes {
		body = body[:maxExcerptBytes]
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "?")), " ")
}

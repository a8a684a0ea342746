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
	sent, err := c.credentials()
	if err != nil {
		return response{verdict: halted, err: err, excerpt: err.Error()}
	}
	request, err := c.request(ctx, j, sent)
	if err != nil {
		return response{verdict: halted, err: err, excerpt: err.Error()}
	}
	started := time.Now()
	r := c.exchange(request, sent)
	c.metrics.duration.Observe(time.Since(started).Seconds())
	r.excerpt = c.excerpt(r, j)
	c.metrics.requestEvents.Observe(float64(j.part.events()))
	c.metrics.requestBytes.Observe(float64(len(j.part.body)))
	c.countRequest(r.code())
	return r
}

// excerpt returns the start of r's text, with quotes of the request masked. It returns "" if the
// request was accepted or canceled. To bound the memory, one request body at a time is decompressed.
func (c *Client) excerpt(r response, j *job) string {
	if r.verdict == accepted || r.excerpt == "" {
		return ""
	}
	c.maskMu.Lock()
	defer c.maskMu.Unlock()
	if r.verdict == retryable && j.delivery.ctx.Err() != nil { // a stop must not wait for every request to be masked
		return ""
	}
	return excerpt(mask(r.excerpt, j.part.raw()))
}

// exchange sends a request and reads the response. It calls the transport directly, because an
// [http.Client] would follow redirects.
func (c *Client) exchange(request *http.Request, sent credentials) response {
	resp, err := c.cfg.Transport.RoundTrip(request)
	if err != nil {
		return response{verdict: retryable, err: err, excerpt: err.Error()}
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 { // 101: the body is the raw connection, and reading it can block
		return response{verdict: retryable, excerpt: "unexpected status " + resp.Status}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	r := response{
		verdict: classify(resp.StatusCode), status: resp.StatusCode, excerpt: string(sent.redact(body)),
		credentials: sent, location: RedirectTarget(resp),
	}
	if err != nil && !r.failed() {
		// If the response is truncated, the outcome is unknown. The payload ID makes a retry
		// harmless.
		return response{verdict: retryable, excerpt: fmt.Sprintf("read response with status %d: %v", r.status, err)}
	}
	if r.overloaded() {
		r.retryAfter = RetryAfter(resp.Header, time.Now())
	}
	return r
}

// request builds the HTTP request for a job. Requests for the same job can differ only in the
// credentials, which can be rotated.
func (c *Client) request(ctx context.Context, j *job, sent credentials) (*http.Request, error) {
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
	agent := "segment-to-launchdarkly"
	if c.cfg.Endpoint == MetricImport {
		agent = "MetricImport-SegmentToLaunchDarkly-int" // LaunchDarkly requires MetricImport-COMPANY-int/VERSION
	}
	r.Header.Set("User-Agent", agent+"/"+c.cfg.Version)
	sent.add(r.Header)
	return r, nil
}

// excerpt returns the start of a text as a single line of valid UTF-8.
func excerpt(text string) string { return line(text[:min(len(text), maxExcerptBytes)]) }

// line returns text as a single line of valid UTF-8.
func line(text string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
}

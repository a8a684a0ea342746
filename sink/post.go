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

	excerptBytes = 256      // of an answer, for logs and dead letters
	answerBytes  = 64 << 10 // of an answer that are read at all
)

// post makes one attempt and returns what came of it.
func (c *Client) post(j *job) answer {
	ctx, cancel := context.WithTimeout(j.delivery.ctx, c.cfg.Timeout)
	defer cancel()
	request, err := c.request(ctx, j)
	if err != nil {
		return answer{verdict: denied, excerpt: err.Error()}
	}
	started := time.Now()
	a := c.exchange(request)
	c.metrics.duration.Observe(time.Since(started).Seconds())
	c.metrics.requestEvents.Observe(float64(j.part.events()))
	c.metrics.requestBytes.Observe(float64(len(j.part.body)))
	c.countRequest(a.code())
	return a
}

// exchange sends a request and reads the answer to its end. It asks the transport
// itself, because that never follows a redirect.
func (c *Client) exchange(request *http.Request) answer {
	response, err := c.cfg.Transport.RoundTrip(request)
	if err != nil {
		return answer{verdict: later, excerpt: excerpt([]byte(err.Error()))}
	}
	defer response.Body.Close()
	if response.StatusCode < 200 { // 101: the transport hands over the connection, where nothing may come
		return answer{verdict: later, excerpt: "the answer is " + response.Status}
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, answerBytes))
	token := request.Header.Get("Authorization")
	if token != "" { // some proxies send headers back
		text = bytes.ReplaceAll(text, []byte(token), []byte("[redacted]"))
	}
	a := answer{verdict: judge(response.StatusCode), status: response.StatusCode, excerpt: excerpt(text), token: token}
	if err != nil && !a.failed() {
		// Cut off: what became of the request is not known, and the payload ID makes
		// asking again harmless.
		return answer{verdict: later, excerpt: fmt.Sprintf("the answer, status %d, cannot be read: %v", a.status, err)}
	}
	if a.asksForLess() {
		a.retryAfter = retryAfter(response.Header, time.Now())
	}
	return a
}

// request forms the request for a job. It is the same for every attempt, except
// for a credential that was rotated.
func (c *Client) request(ctx context.Context, j *job) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(j.part.body))
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
	// The form is prescribed: MetricImport-COMPANY-int/VERSION.
	r.Header.Set("User-Agent", "MetricImport-SegmentToLaunchDarkly-int/"+c.cfg.Version)
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", token)
	return r, nil
}

// excerpt returns the start of an answer as one line of valid UTF-8.
func excerpt(text []byte) string {
	if len(text) > excerptBytes {
		text = text[:excerptBytes]
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "?")), " ")
}

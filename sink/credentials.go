package sink

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

// credentials contains the headers that authenticate requests to LaunchDarkly, or to a gateway in
// front of it. The values must never be logged.
type credentials map[string]string

// credentialsInterval is the time between reads of the credentials while delivery is halted.
const credentialsInterval = time.Second

// credentials returns the configured headers and the access token.
func (c *Client) credentials() (credentials, error) {
	all := credentials{}
	if c.cfg.Headers != nil {
		headers, err := c.cfg.Headers()
		if err != nil {
			return nil, fmt.Errorf("read headers: %w", err)
		}
		maps.Copy(all, headers)
	}
	if c.cfg.AccessToken != nil && c.cfg.Endpoint == MetricImport {
		token, err := c.cfg.AccessToken()
		if err != nil {
			return nil, fmt.Errorf("read access token: %w", err)
		}
		all["Authorization"] = token
	}
	for name, value := range all {
		// net/http would also reject such a value, but with an error that looks like a network failure.
		if strings.ContainsFunc(value, unicode.IsControl) {
			return nil, fmt.Errorf("the value of the header %s contains a control character", name)
		}
	}
	return all, nil
}

// redact replaces each word of the credentials in a response body, such as the token in "Bearer
// TOKEN", because some proxies echo request headers. Words shorter than minSecretBytes remain.
func (c credentials) redact(body []byte) []byte {
	var words []string
	for _, value := range c {
		words = append(words, strings.Fields(value)...)
	}
	// Longer words come first, because they can contain shorter ones.
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	for _, word := range words {
		if len(word) >= minSecretBytes {
			body = bytes.ReplaceAll(body, []byte(word), []byte("[redacted]"))
		}
	}
	return body
}

// minSecretBytes is the length of the shortest word that is redacted. Shorter ones, such as 1, are
// common in ordinary text.
const minSecretBytes = 4

// add sets the headers of a request. It does not replace headers that are already set.
func (c credentials) add(to http.Header) {
	for name, value := range c {
		if to.Get(name) == "" {
			to.Set(name, value)
		}
	}
}

// watchCredentials runs while delivery is halted. It reads the credentials every second and passes
// them to tryCredentials, until stop is closed.
func (c *Client) watchCredentials(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(credentialsInterval):
		}
		if latest, err := c.credentials(); err == nil {
			c.tryCredentials(latest)
		}
	}
}

// tryCredentials allows one immediate probe each time the credentials change.
func (c *Client) tryCredentials(latest credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopWatch != nil && !maps.Equal(latest, c.rejectedCredentials) {
		c.rejectedCredentials = latest
		c.limiter.nextProbe = time.Time{}
		c.dispatch()
	}
}

// startWatch starts watchCredentials. The caller must hold c.mu.
func (c *Client) startWatch() {
	stop := make(chan struct{})
	c.stopWatch = stop
	c.watching.Go(func() { c.watchCredentials(stop) })
}

// endWatch stops watchCredentials if it is running. The caller must hold c.mu.
func (c *Client) endWatch() {
	if c.stopWatch != nil {
		close(c.stopWatch)
		c.stopWatch = nil
	}
}

package sink

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// tokenInterval is the interval at which the access token is read while delivery is halted.
const tokenInterval = time.Second

// token returns the access token, which must never be logged.
func (c *Client) token() (string, error) {
	token, err := c.cfg.AccessToken()
	if err != nil {
		return "", fmt.Errorf("read access token: %w", err)
	}
	// net/http would reject it too, but with an error that looks like a network failure.
	if strings.ContainsFunc(token, unicode.IsControl) {
		return "", errors.New("access token: contains a control character")
	}
	return token, nil
}

// watchToken reads the access token every second until stop is closed. When the token differs from
// the one that LaunchDarkly rejected, it allows an attempt to start. It runs while delivery is
// halted.
func (c *Client) watchToken(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(tokenInterval):
		}
		if token, err := c.token(); err == nil {
			c.tryToken(token)
		}
	}
}

// tryToken allows an immediate probe if the token has changed, once per change.
func (c *Client) tryToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopWatch != nil && token != c.rejectedToken {
		c.rejectedToken = token
		c.limiter.nextProbe = time.Time{}
		c.dispatch()
	}
}

// startTokenWatch starts watchToken. The caller holds the mutex.
func (c *Client) startTokenWatch() {
	stop := make(chan struct{})
	c.stopWatch = stop
	c.watching.Go(func() { c.watchToken(stop) })
}

// stopTokenWatch stops watchToken if it is running. The caller holds the mutex.
func (c *Client) stopTokenWatch() {
	if c.stopWatch != nil {
		close(c.stopWatch)
		c.stopWatch = nil
	}
}

package sink

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// tokenInterval is how often the access token is read while halted.
const tokenInterval = time.Second

// token returns the access token. It is compared and sent, and never logged.
func (c *Client) token() (string, error) {
	token, err := c.cfg.AccessToken()
	if err != nil {
		return "", fmt.Errorf("access token: %w", err)
	}
	if strings.ContainsFunc(token, unicode.IsControl) { // net/http would refuse it, and tell nobody that it is ours to mend
		return "", errors.New("access token: it holds a control character")
	}
	return token, nil
}

// watchToken reads the access token every second until stop is closed, and lets an attempt
// start when the token is another than the one that LaunchDarkly rejected. It runs while halted.
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

// tryToken ends the wait of a halt if the token has changed, once for each change.
func (c *Client) tryToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopWatch != nil && token != c.rejected {
		c.rejected = token
		c.pace.probe = time.Time{}
		c.pump()
	}
}

// startWatch starts watchToken. The caller holds the mutex.
func (c *Client) startWatch() {
	stop := make(chan struct{})
	c.stopWatch = stop
	c.watching.Go(func() { c.watchToken(stop) })
}

// endWatch stops watchToken, if it runs. The caller holds the mutex.
func (c *Client) endWatch() {
	if c.stopWatch != nil {
		close(c.stopWatch)
		c.stopWatch = nil
	}
}

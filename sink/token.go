package sink

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// tokenInterval is the time between reads of the access token while delivery is halted.
const tokenInterval = time.Second

// token returns the access token, which must never be logged.
func (c *Client) token() (string, error) {
	token, err := c.cfg.AccessToken()
	if err != nil {
		return "", fmt.Errorf("read access token: %w", err)
	}
	// net/http would also reject such a token, but with an error that looks like a network failure.
	if strings.ContainsFunc(token, unicode.IsControl) {
		return "", errors.New("read access token: the token contains a control character")
	}
	return token, nil
}

// watchToken runs while delivery is halted. It reads the access token every second and passes it to
// tryToken, until stop is closed.
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

// tryToken allows one immediate probe each time the token changes.
func (c *Client) tryToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopWatch != nil && token != c.rejectedToken {
		c.rejectedToken = token
		c.limiter.nextProbe = time.Time{}
		c.dispatch()
	}
}

// startTokenWatch starts watchToken. The caller must hold c.mu.
func (c *Client) startTokenWatch() {
	stop := make(chan struct{})
	c.stopWatch = stop
	c.watching.Go(func() { c.watchToken(stop) })
}

// stopTokenWatch stops watchToken if it is running. The caller must hold c.mu.
func (c *Client) stopTokenWatch() {
	if c.stopWatch != nil {
		close(c.stopWatch)
		c.stopWatch = nil
	}
}

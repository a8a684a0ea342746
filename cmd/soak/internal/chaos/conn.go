//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a proxied connection. One half connects to the member, the other to the server.
type conn struct {
	link   *link
	member *net.TCPConn
	server *net.TCPConn
	late   atomic.Bool // the member's half has been reset, and a commit is held back

	once sync.Once
	done chan struct{} // closed when both halves are closed

	mu      sync.Mutex               // guards pending
	pending map[int32]pendingRequest // requests without a response, by correlation ID
}

// bundle is a chunk of bytes that the proxy forwards as a unit. On a link to Kafka, a bundle is one
// protocol frame.
type bundle struct {
	bytes []byte
	due   time.Time
}

// inFlight is the maximum number of bundles held in each direction of a connection.
const inFlight = 256

// run copies bytes in both directions until the connection is closed. If the member closes its
// half, bytes already sent still reach the server.
func (c *conn) run() {
	toServer, toMember := make(chan bundle, inFlight), make(chan bundle, inFlight)
	var running sync.WaitGroup
	running.Go(func() { defer close(toServer); c.read(up, c.member, toServer) })
	running.Go(func() { defer close(toMember); c.read(down, c.server, toMember) })
	running.Go(func() {
		c.write(up, c.server, toServer)
		if !c.late.Load() {
			_ = c.server.CloseWrite()
			return
		}
		select { // wait for the response to the late commit
		case <-c.done:
		case <-time.After(5 * time.Second):
			c.reset()
		}
	})
	running.Go(func() {
		c.write(down, c.member, toMember)
		if !c.late.Load() {
			c.member.Close()
		}
	})
	running.Wait()
	c.reset()
}

// reset closes both halves with a TCP reset.
func (c *conn) reset() {
	c.once.Do(func() {
		_ = c.member.SetLinger(0)
		_ = c.server.SetLinger(0)
		c.member.Close()
		c.server.Close()
		close(c.done)
	})
}

// read reads bundles from one half of the connection until that half is closed, and queues them for
// the other half. It also holds back late commits and rewrites Kafka responses.
func (c *conn) read(d direction, from io.Reader, to chan<- bundle) {
	for {
		b, err := c.next(from)
		if err != nil {
			return
		}
		c.link.mu.Lock()
		due := time.Now().Add(c.link.delay[d])
		c.link.mu.Unlock()
		if d == up && c.link.kafka {
			late, err := c.inspectRequest(b)
			switch {
			case err != nil:
				c.abort(err)
				return
			case late:
				n := c.link.wire.net
				hold := n.holdMin + time.Duration(n.draw(int((n.holdMax-n.holdMin)/time.Millisecond)+1))*time.Millisecond
				c.link.wire.net.seen.recordLate()
				c.late.Store(true)
				_ = c.member.SetLinger(0)
				c.member.Close()
				c.send(to, bundle{b, due.Add(hold)})
				return
			}
		}
		if d == down && c.link.kafka {
			if b, err = c.rewriteResponse(b); err != nil {
				c.abort(err)
				return
			}
		}
		if !c.send(to, bundle{b, due}) {
			return
		}
	}
}

func (c *conn) send(to chan<- bundle, b bundle) bool {
	select {
	case to <- b:
		return true
	case <-c.done:
		return false
	}
}

// abort resets the connection after the proxy has failed to parse a frame. It also records the
// error, which makes the run fail.
func (c *conn) abort(err error) {
	c.link.wire.net.seen.recordError(fmt.Errorf("proxy %s: %w", c.link.wire.member, err))
	c.reset()
}

// next reads and returns the next bundle.
func (c *conn) next(from io.Reader) ([]byte, error) {
	if c.link.kafka {
		return readFrame(from)
	}
	b := make([]byte, 16<<10)
	n, err := from.Read(b)
	if n > 0 {
		return b[:n], nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, err
}

// write writes each bundle as soon as the bundle is due and the direction is not blocked. After a
// failed write, it discards the remaining bundles.
func (c *conn) write(d direction, to io.Writer, from <-chan bundle) {
	broken := false
	for b := range from {
		if wait := time.Until(b.due); wait > 0 && !broken {
			select {
			case <-time.After(wait):
			case <-c.done:
			}
		}
		c.link.waitOpen(d, c.done)
		if broken {
			continue
		}
		if _, err := to.Write(b.bytes); err != nil {
			broken = true
			// Reset only if the server is gone. Bytes from a member that is gone must still arrive.
			if d == up && !errors.Is(err, net.ErrClosed) {
				c.reset()
			}
		}
	}
}

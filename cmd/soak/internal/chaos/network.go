//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// network is the simulated network: every connection from a member to a broker or to LaunchDarkly
// runs through a proxy of this process. Each pair of member and server has a [link] of its own, on
// which connections can be cut, delayed or blocked, and on which an offset commit can arrive late.
//
// Members reach brokers only through their links: the proxy replaces the brokers' addresses in
// Kafka responses.
type network struct {
	ld      string        // LaunchDarkly's address
	late    atomic.Uint64 // share of offset commits that arrive late, in millionths
	holdMin time.Duration // shortest and longest time for which a late commit is held
	holdMax time.Duration
	seen    *traffic
	logf    func(format string, args ...any)
	owners  sync.Map // local address of a connection to LaunchDarkly: name of the member behind it

	mu    sync.Mutex
	rng   *rand.Rand // guarded by mu
	wires []*wire    // guarded by mu
}

func newNetwork(seed uint64, ld string, logf func(string, ...any)) *network {
	return &network{ld: ld, logf: logf, holdMin: time.Second, holdMax: 15 * time.Second, seen: newTraffic(), rng: rand.New(rand.NewPCG(seed, 2))}
}

// direction is one of the two directions of a link.
type direction int

const (
	up   direction = iota // from the member
	down                  // to the member
)

// wire is the network of one member: its links.
type wire struct {
	member string
	net    *network
	links  []*link // to the brokers, in the cluster's order, and to LaunchDarkly, which is the last
}

// link is the way from one member to one server.
type link struct {
	wire     *wire
	target   string // address of the server
	addr     string // address of the proxy
	kafka    bool
	listener net.Listener

	mu      sync.Mutex // guards the fields below
	changed chan struct{}
	blocked [2]bool          // by direction
	delay   [2]time.Duration // by direction
	armed   int              // offset commits that are to arrive late
	faulted time.Time        // when a fault last affected the link
	conns   map[*conn]struct{}
}

// attach returns a new member's network, with a link to each broker and one to LaunchDarkly.
func (n *network) attach(member string, brokers []string) (*wire, error) {
	w := &wire{member: member, net: n}
	for i, target := range append(append([]string(nil), brokers...), n.ld) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.close()
			return nil, fmt.Errorf("proxy of %s: %w", member, err)
		}
		l := &link{
			wire: w, target: target, addr: listener.Addr().String(), kafka: i < len(brokers), listener: listener,
			changed: make(chan struct{}), conns: map[*conn]struct{}{},
		}
		w.links = append(w.links, l)
	}
	for _, l := range w.links { // all are known before anybody connects, as a member of before may whose port this was
		go l.serve()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wires = append(n.wires, w)
	return w, nil
}

// close closes all links of all members. What is still held is dropped.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.wires {
		w.close()
	}
}

// held reports whether something is still on its way to a server.
func (n *network) held() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.wires {
		for _, l := range w.links {
			l.mu.Lock()
			busy := len(l.conns) > 0
			l.mu.Unlock()
			if busy {
				return true
			}
		}
	}
	return false
}

// draw returns a number in [0, limit) from the network's random source.
func (n *network) draw(limit int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(limit)
}

// brokers returns the addresses at which the member finds the brokers.
func (w *wire) brokers() []string {
	var all []string
	for _, l := range w.links[:len(w.links)-1] {
		all = append(all, l.addr)
	}
	return all
}

// launchDarkly returns the address at which the member finds LaunchDarkly. Members use it as an
// HTTP proxy, so that all of them have the same configuration.
func (w *wire) launchDarkly() string { return w.links[len(w.links)-1].addr }

// proxied returns the address at which the member finds a broker.
func (w *wire) proxied(host string, port int32) (string, int32, error) {
	addr := net.JoinHostPort(host, strconv.Itoa(int(port)))
	for _, l := range w.links {
		if l.target == addr {
			host, port, err := net.SplitHostPort(l.addr)
			if err != nil {
				return "", 0, err
			}
			n, err := strconv.Atoi(port)
			return host, int32(n), err
		}
	}
	return "", 0, fmt.Errorf("a broker advertises %s, to which there is no link", addr)
}

func (w *wire) close() {
	for _, l := range w.links {
		l.listener.Close()
		l.cut()
	}
}

// disturbed returns when a fault last affected the member's network.
func (w *wire) disturbed() (last time.Time) {
	for _, l := range w.links {
		l.mu.Lock()
		if l.faulted.After(last) {
			last = l.faulted
		}
		l.mu.Unlock()
	}
	return last
}

// set changes the state of a link and wakes the connections that wait for it.
func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.faulted = time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
}

// block blocks directions: connections stay open and can be opened, and nothing arrives.
func (l *link) block(toServer, toMember bool) {
	l.set(func() { l.blocked = [2]bool{up: toServer, down: toMember} })
}

// slow delays both directions.
func (l *link) slow(d time.Duration) { l.set(func() { l.delay = [2]time.Duration{d, d} }) }

// heal ends blocks and delays. What was held arrives.
func (l *link) heal() {
	l.set(func() { l.blocked, l.delay, l.armed = [2]bool{}, [2]time.Duration{}, 0 })
}

// arm has the next n offset commits arrive late.
func (l *link) arm(n int) { l.set(func() { l.armed = n }) }

// cut resets all connections. What is held of them is lost, except for commits that are late.
func (l *link) cut() {
	l.mu.Lock()
	l.faulted = time.Now()
	var all []*conn
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		if !c.late.Load() {
			c.reset()
		}
	}
}

// open waits until a direction is not blocked. It returns early with the connection.
func (l *link) open(d direction, done <-chan struct{}) {
	for {
		l.mu.Lock()
		blocked, changed := l.blocked[d], l.changed
		l.mu.Unlock()
		if !blocked {
			return
		}
		select {
		case <-changed:
		case <-done:
			return
		}
	}
}

// takeLate reports whether an offset commit is to arrive late.
func (l *link) takeLate() bool {
	share := int(l.wire.net.late.Load())
	random := share > 0 && l.wire.net.draw(1_000_000) < share
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed > 0 {
		l.armed--
	} else if !random {
		return false
	}
	l.faulted = time.Now()
	return true
}

func (l *link) serve() {
	for {
		member, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.connect(member.(*net.TCPConn))
	}
}

// connect opens the other half of a member's connection and runs both.
func (l *link) connect(member *net.TCPConn) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	server, err := dialer.DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		_ = member.SetLinger(0)
		member.Close()
		return
	}
	c := &conn{link: l, member: member, server: server.(*net.TCPConn), done: make(chan struct{}), asked: map[int32]question{}}
	if !l.kafka {
		name := server.LocalAddr().String()
		l.wire.net.owners.Store(name, l.wire.member)
		defer l.wire.net.owners.Delete(name)
	}
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	c.run()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// conn is a connection of a member and its continuation to the server.
type conn struct {
	link   *link
	member *net.TCPConn
	server *net.TCPConn
	late   atomic.Bool // the member's half is reset, and a commit is held

	once sync.Once
	done chan struct{} // closed when both halves are closed

	mu    sync.Mutex
	asked map[int32]question // guarded by mu: requests without a response, by correlation ID
}

// bundle is what arrives together: a frame of Kafka's protocol, or some bytes.
type bundle struct {
	bytes []byte
	due   time.Time
}

// inFlight bounds the bundles that are held in each direction of a connection.
const inFlight = 256

// run copies both directions until the connection ends. Bytes of a member that has closed its half
// still reach the server.
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
		select { // for the response to the late commit
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

// reset closes both halves with a reset.
func (c *conn) reset() {
	c.once.Do(func() {
		_ = c.member.SetLinger(0)
		_ = c.server.SetLinger(0)
		c.member.Close()
		c.server.Close()
		close(c.done)
	})
}

// read reads bundles of one direction until that half ends.
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
			late, err := c.request(b)
			switch {
			case err != nil:
				c.fail(err)
				return
			case late:
				n := c.link.wire.net
				hold := n.holdMin + time.Duration(n.draw(int((n.holdMax-n.holdMin)/time.Millisecond)+1))*time.Millisecond
				c.link.wire.net.seen.held()
				c.late.Store(true)
				_ = c.member.SetLinger(0)
				c.member.Close()
				c.send(to, bundle{b, due.Add(hold)})
				return
			}
		}
		if d == down && c.link.kafka {
			if b, err = c.response(b); err != nil {
				c.fail(err)
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

// fail notes that the proxy does not understand a connection, which spoils the run, and resets it.
func (c *conn) fail(err error) {
	c.link.wire.net.seen.fail(fmt.Errorf("proxy of %s: %w", c.link.wire.member, err))
	c.reset()
}

// next reads the next bundle.
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

// write writes bundles when they are due and the direction is open. If the half fails, it discards
// the rest.
func (c *conn) write(d direction, to io.Writer, from <-chan bundle) {
	broken := false
	for b := range from {
		if wait := time.Until(b.due); wait > 0 && !broken {
			select {
			case <-time.After(wait):
			case <-c.done:
			}
		}
		c.link.open(d, c.done)
		if broken {
			continue
		}
		if _, err := to.Write(b.bytes); err != nil {
			broken = true
			if d == up && !errors.Is(err, net.ErrClosed) { // a member that is gone may have sent something that is still held
				c.reset()
			}
		}
	}
}

//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// network is a simulated network. Every connection from a member to a broker or to LaunchDarkly
// goes through a proxy in this process. Each pair of member and server has its own [link]. A link
// can cut, delay, or block connections, and can hold back offset commits.
//
// Members reach brokers only through their links, because the proxy rewrites broker addresses in
// Kafka responses.
type network struct {
	ld      string        // LaunchDarkly's address
	late    atomic.Uint64 // fraction of offset commits that arrive late, in millionths
	holdMin time.Duration // minimum delay of a late commit
	holdMax time.Duration // maximum delay of a late commit
	seen    *traffic
	logf    func(format string, args ...any)
	owners  sync.Map // maps the local address of each LaunchDarkly connection to its member's name

	mu    sync.Mutex // guards the fields below
	rng   *rand.Rand
	wires []*wire
}

func newNetwork(seed uint64, ld string, logf func(string, ...any)) *network {
	return &network{
		ld: ld, logf: logf, holdMin: time.Second, holdMax: 15 * time.Second, seen: newTraffic(),
		rng: rand.New(rand.NewPCG(seed, 2)),
	}
}

// direction is the direction of traffic on a link.
type direction int

const (
	up   direction = iota // from the member
	down                  // to the member
)

// wire is the set of a member's links.
type wire struct {
	member string
	net    *network
	links  []*link // one to each broker in cluster order, then one to LaunchDarkly
}

// link is the network path from one member to one server.
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
	armed   int              // number of offset commits to hold back
	faulted time.Time        // when a fault last affected the link
	conns   map[*conn]struct{}
}

// attach creates a new member's links, one to each broker and one to LaunchDarkly.
func (n *network) attach(member string, brokers []string) (*wire, error) {
	w := &wire{member: member, net: n}
	for i, target := range append(append([]string(nil), brokers...), n.ld) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.close()
			return nil, fmt.Errorf("listen for %s: %w", member, err)
		}
		l := &link{
			wire: w, target: target, addr: listener.Addr().String(), kafka: i < len(brokers), listener: listener,
			changed: make(chan struct{}), conns: map[*conn]struct{}{},
		}
		w.links = append(w.links, l)
	}
	for _, l := range w.links { // serve only after all links exist, because an old member may connect to a reused port
		go l.serve()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wires = append(n.wires, w)
	return w, nil
}

// close closes all links. Bytes still held are dropped, except on connections with a late commit.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.wires {
		w.close()
	}
}

// busy reports whether any connection to a server is still open.
func (n *network) busy() bool {
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

// brokers returns the member's proxy addresses for the brokers.
func (w *wire) brokers() []string {
	var all []string
	for _, l := range w.links[:len(w.links)-1] {
		all = append(all, l.addr)
	}
	return all
}

// launchDarkly returns the member's proxy address for LaunchDarkly. Members use the address as an
// HTTP proxy, so that LaunchDarkly's URL is the same for all members.
func (w *wire) launchDarkly() string { return w.links[len(w.links)-1].addr }

// proxyAddr returns the member's proxy address for the broker that advertises host and port.
func (w *wire) proxyAddr(host string, port int32) (string, int32, error) {
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
	return "", 0, fmt.Errorf("no link to the broker that advertises %s", addr)
}

func (w *wire) close() {
	for _, l := range w.links {
		l.listener.Close()
		l.cut()
	}
}

// lastFault returns when a fault last affected any of the member's links.
func (w *wire) lastFault() (last time.Time) {
	for _, l := range w.links {
		l.mu.Lock()
		if l.faulted.After(last) {
			last = l.faulted
		}
		l.mu.Unlock()
	}
	return last
}

// update changes a link's state and wakes connections waiting for a change.
func (l *link) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.faulted = time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
}

// block blocks the given directions and unblocks the others. Connections stay open and new ones can
// be opened, but no bytes arrive in a blocked direction.
func (l *link) block(toServer, toMember bool) {
	l.update(func() { l.blocked = [2]bool{up: toServer, down: toMember} })
}

// setDelay delays both directions.
func (l *link) setDelay(d time.Duration) { l.update(func() { l.delay = [2]time.Duration{d, d} }) }

// heal removes all blocks and delays, and disarms the link, so that no further commits arrive late.
// Blocked bytes then arrive.
func (l *link) heal() {
	l.update(func() { l.blocked, l.delay, l.armed = [2]bool{}, [2]time.Duration{}, 0 })
}

// arm makes the next n offset commits arrive late.
func (l *link) arm(n int) { l.update(func() { l.armed = n }) }

// cut resets all connections except those holding a late commit. Bytes held on reset connections
// are lost.
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

// waitOpen waits until a direction is unblocked or done is closed.
func (l *link) waitOpen(d direction, done <-chan struct{}) {
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

// takeLate decides whether an offset commit arrives late. If the link is armed, takeLate decrements
// the number of armed commits and returns true. Otherwise, it decides at random.
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

// connect dials the server for a member's connection and proxies the connection until it is closed.
func (l *link) connect(member *net.TCPConn) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	server, err := dialer.DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		_ = member.SetLinger(0)
		member.Close()
		return
	}
	c := &conn{
		link: l, member: member, server: server.(*net.TCPConn), done: make(chan struct{}),
		pending: map[int32]pendingRequest{},
	}
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

package consumer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// network connects one member to Kafka and LaunchDarkly. It forwards whole Kafka frames, so that a
// fault can affect a single request or response. A fault delays a frame, loses it, or delivers it
// after the connection was reset.
type network struct {
	mu     sync.Mutex // guards the fields below
	rules  []*rule
	links  map[*link]bool
	thawed chan struct{} // closed unless the network is frozen
	dead   bool          // new connections fail
}

// latency is the delay of all frames in each direction. The client repeats some requests without a
// pause, for example after a leader has moved or a topic was deleted. Without the latency, virtual
// time would not advance meanwhile.
const latency = 5 * time.Millisecond

// rule is a fault for the next requests of a kind, or for their responses.
type rule struct {
	key      int16 // key of the request
	response bool
	what     wireFault
	delay    time.Duration
	count    int
}

type wireFault int

const (
	hold    wireFault = iota // deliver after the delay
	late                     // reset the member's side now, deliver after the delay; like lose for responses
	lose                     // reset both sides without delivery
	swallow                  // silently drop all further frames in this direction
	wireFaults
)

func (f wireFault) String() string { return [...]string{"hold", "late", "lose", "swallow"}[f] }

func newNetwork() *network {
	n := &network{links: map[*link]bool{}, thawed: make(chan struct{})}
	close(n.thawed)
	return n
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// through returns a dialer whose connections pass through n. If frames is set, n forwards whole
// frames of Kafka's protocol.
func (n *network) through(dial dialer, frames bool) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.mu.Lock()
		dead, thawed := n.dead, n.thawed
		n.mu.Unlock()
		if dead {
			return nil, errors.New("no route to host")
		}
		select {
		case <-thawed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		far, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		client, near := net.Pipe()
		l := &link{network: n, near: near, far: far, frames: frames, up: make(chan parcel, 64),
			down: make(chan parcel, 64),
			done: make(chan struct{}), keys: map[uint32]int16{}}
		n.mu.Lock()
		if n.dead { // the network died while it was frozen
			n.mu.Unlock()
			far.Close()
			return nil, errors.New("no route to host")
		}
		n.links[l] = true
		n.mu.Unlock()
		go l.read(near, l.up, false)
		go l.write(far, l.up)
		go l.read(far, l.down, true)
		go l.write(near, l.down)
		return client, nil
	}
}

// add adds a rule.
func (n *network) add(r *rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = append(n.rules, r)
}

// match returns the rule for a frame and decrements its count. It returns nil if no rule applies.
func (n *network) match(key int16, response bool) *rule {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rules {
		if r.count > 0 && r.key == key && r.response == response {
			r.count--
			return r
		}
	}
	return nil
}

// freeze stops all traffic in both directions until thaw. No frame is lost, and no connection
// closes.
func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
		n.thawed = make(chan struct{})
	default:
	}
}

// thaw ends a freeze.
func (n *network) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
	default:
		close(n.thawed)
	}
}

// reset closes all connections. If inFlight is set, frames already sent by the member are still
// delivered.
func (n *network) reset(inFlight bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.links {
		if inFlight {
			l.near.Close()
		} else {
			l.end()
		}
	}
}

// die resets the network, and makes all new connections fail.
func (n *network) die(inFlight bool) {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.reset(inFlight)
}

// clearFaults removes all rules, and thaws the network.
func (n *network) clearFaults() {
	n.mu.Lock()
	n.rules = nil
	n.mu.Unlock()
	n.thaw()
}

// link is one connection. It has two goroutines that read and two that write. All of them exit when
// the connections on both sides are closed.
type link struct {
	*network
	near, far net.Conn // to the member, to the server
	frames    bool
	up, down  chan parcel   // closed by the goroutines that read from near and far
	done      chan struct{} // closed by end
	ended     sync.Once

	keysMu sync.Mutex       // guards the fields below
	keys   map[uint32]int16 // request keys by correlation ID
}

type parcel struct {
	data []byte
	at   time.Time // time of delivery
}

// end closes both connections.
func (l *link) end() {
	l.ended.Do(func() {
		close(l.done)
		l.near.Close()
		l.far.Close()
	})
}

// read reads from one side and passes the data on, until that side is closed.
func (l *link) read(from net.Conn, to chan<- parcel, response bool) {
	defer close(to)
	sunk := false
	for {
		data, err := l.next(from)
		if err != nil {
			return
		}
		p := parcel{data: data, at: time.Now().Add(latency)}
		if r := l.rule(data, response); r != nil {
			switch {
			case r.what == hold:
				p.at = time.Now().Add(r.delay)
			case r.what == late && !response:
				p.at = time.Now().Add(r.delay)
				l.near.Close()
			case r.what == swallow:
				sunk = true
			default:
				l.end()
				return
			}
		}
		if sunk {
			continue
		}
		select {
		case to <- p:
		case <-l.done:
			return
		}
	}
}

// next reads a frame, or the available bytes of a stream without frames.
func (l *link) next(from net.Conn) ([]byte, error) {
	if !l.frames {
		data := make([]byte, 16<<10)
		n, err := from.Read(data)
		return data[:n], err
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(from, size); err != nil {
		return nil, err
	}
	data := make([]byte, 4+binary.BigEndian.Uint32(size))
	copy(data, size)
	_, err := io.ReadFull(from, data[4:])
	return data, err
}

// rule returns the rule for a frame, or nil. The correlation ID of a response identifies its
// request.
func (l *link) rule(frame []byte, response bool) *rule {
	if !l.frames || len(frame) < 12 {
		return nil
	}
	l.keysMu.Lock()
	defer l.keysMu.Unlock()
	if response {
		id := binary.BigEndian.Uint32(frame[4:])
		key := l.keys[id]
		delete(l.keys, id)
		return l.match(key, true)
	}
	key := int16(binary.BigEndian.Uint16(frame[4:]))
	l.keys[binary.BigEndian.Uint32(frame[8:])] = key
	return l.match(key, false)
}

// write delivers parcels in order, and then closes the connection.
func (l *link) write(to net.Conn, from <-chan parcel) {
	defer func() {
		to.Close()
		if to == l.near { // both directions are closed
			l.end()
			l.mu.Lock()
			delete(l.links, l)
			l.mu.Unlock()
		}
	}()
	for p := range from {
		if wait := time.Until(p.at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-l.done:
				return
			}
		}
		l.mu.Lock()
		thawed := l.thawed
		l.mu.Unlock()
		select {
		case <-thawed:
		case <-l.done:
			return
		}
		if _, err := to.Write(p.data); err != nil && to == l.far {
			l.end() // the server has closed the connection
			return
		}
		// Errors on the near side are expected, because the member may have closed the connection
		// of a delayed request.
	}
}

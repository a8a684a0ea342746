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

// network is what one member reaches Kafka and LaunchDarkly through. It carries whole Kafka frames,
// so that a fault can hit one request or one response: it holds, loses, or delivers it after the
// member has seen the connection reset.
type network struct {
	mu     sync.Mutex // guards the fields below
	rules  []*rule
	links  map[*link]bool
	thawed chan struct{} // closed unless the network is frozen
	dead   bool          // nothing connects any more
}

// latency is what everything takes in each direction. Without it the client's requests that it
// repeats without a pause (to a leader that has moved, for a topic that is deleted) would keep
// virtual time from passing.
const latency = 5 * time.Millisecond

// rule is a fault that hits the next requests of a kind, or their responses.
type rule struct {
	key      int16 // of the request
	response bool
	what     wireFault
	delay    time.Duration
	count    int
}

type wireFault int

const (
	hold    wireFault = iota // deliver after the delay
	late                     // reset the member's side now, deliver after the delay; for responses the same as lose
	lose                     // reset both sides, deliver nothing
	swallow                  // deliver nothing more in this direction, and tell nobody
	wireFaults
)

func (f wireFault) String() string { return [...]string{"hold", "late", "lose", "swallow"}[f] }

func newNetwork() *network {
	n := &network{links: map[*link]bool{}, thawed: make(chan struct{})}
	close(n.thawed)
	return n
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// through returns a dialer whose connections pass through n. Frames are those of Kafka's protocol.
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
		if n.dead { // since, as a frozen network that died before it thawed
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

func (n *network) add(r *rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = append(n.rules, r)
}

// match returns the rule for a frame, nil if there is none.
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

// freeze stops everything in both directions until thaw. Nothing is lost, and no connection ends.
func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
		n.thawed = make(chan struct{})
	default:
	}
}

func (n *network) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
	default:
		close(n.thawed)
	}
}

// reset ends all connections. What the member has sent still arrives, if inFlight is set.
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

// die resets the network for good.
func (n *network) die(inFlight bool) {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.reset(inFlight)
}

// calm removes all faults.
func (n *network) clearFaults() {
	n.mu.Lock()
	n.rules = nil
	n.mu.Unlock()
	n.thaw()
}

// link is one connection. Four goroutines own it: two read, two write, and all end with both
// connections.
type link struct {
	*network
	near, far net.Conn // the member's side, the server's side
	frames    bool
	up, down  chan parcel   // closed by their readers
	done      chan struct{} // closed by end
	ended     sync.Once

	keysMu sync.Mutex // guards keys
	keys   map[uint32]int16
}

type parcel struct {
	data []byte
	at   time.Time // of delivery
}

func (l *link) end() {
	l.ended.Do(func() {
		close(l.done)
		l.near.Close()
		l.far.Close()
	})
}

// read passes on what arrives from one side, until it is closed.
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

// next reads a frame, or what there is of a stream without frames.
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

// rule returns the rule for a frame. A response is of the kind of its request, which its
// correlation ID names.
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

// write delivers what was read, in order, and closes the connection behind the last of it.
func (l *link) write(to net.Conn, from <-chan parcel) {
	defer func() {
		to.Close()
		if to == l.near { // both directions have ended
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
			l.end() // the server has closed it
			return
		}
		// An error of the near side is none: the server's responses to what was held go nowhere.
	}
}

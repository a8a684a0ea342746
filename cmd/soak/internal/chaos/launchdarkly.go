//go:build linux

package chaos

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	poison    = `"poison":true`
	bodyLimit = 16 << 10 // LaunchDarkly refuses larger bodies; full batches exceed it, single events do not
)

// weather is what LaunchDarkly does to one request in some: what passes, before and after it took
// the request, and what halts the program.
var weather = append(ldtest.TransientFaults(), ldtest.Fault{Status: 302}, ldtest.Fault{Status: 401})

// slow is LaunchDarkly at its best: it only takes a while, so that requests are under way when
// something happens.
var slow = []ldtest.Fault{{Kind: ldtest.Slow, For: 150 * time.Millisecond, Accepted: true}}

// launchDarkly is the fake as a server of this process, and what it saw.
type launchDarkly struct {
	*ldtest.Server
	url    string
	server *http.Server

	mu       sync.Mutex
	requests []Request                  // guards
	counted  map[int]bool               // guards: numbers of the main topic's events that counted
	members  func(remote string) string // whose connection it is
	more     chan struct{}              // guards: closed, and replaced, when counted grows
}

// newLaunchDarkly starts the fake. members names the member behind a remote address.
func newLaunchDarkly(journal io.Writer, members func(remote string) string) (*launchDarkly, error) {
	d := &launchDarkly{counted: map[int]bool{}, members: members, more: make(chan struct{})}
	d.Server = ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), OnRequest: d.note, Journal: journal})
	d.Poison(ldtest.Containing(poison))
	d.Limit(bodyLimit)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fake LaunchDarkly: %w", err)
	}
	d.url = "http://" + listener.Addr().String()
	d.server = &http.Server{Handler: http.HandlerFunc(d.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go d.server.Serve(listener) //nolint:errcheck // it ends by Close
	return d, nil
}

// memberHeader tells note which member sent a request. The connection is known only here.
const memberHeader = "Chaos-Member"

func (d *launchDarkly) serve(w http.ResponseWriter, r *http.Request) {
	r.Header.Set(memberHeader, d.members(r.RemoteAddr))
	d.Server.ServeHTTP(w, r)
}

// note keeps what the checker needs of a request.
func (d *launchDarkly) note(r ldtest.Request) {
	kept := Request{Arrived: r.Time, Done: time.Now(), Member: r.Header.Get(memberHeader), ID: r.PayloadID, Hash: r.Hash, Status: r.Status, Accepted: r.Accepted, Duplicate: r.Duplicate}
	for _, id := range r.Identities {
		n, err := strconv.Atoi(id)
		if err != nil {
			n = -1 // which was never produced
		}
		kept.Numbers = append(kept.Numbers, n)
	}
	for _, v := range r.Violations {
		kept.Faults = append(kept.Faults, v.Rule+" "+v.Detail)
	}
	for _, x := range r.Drops {
		kept.Faults = append(kept.Faults, fmt.Sprintf("event %d of it: %s", x.Index, x.Reason))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, kept)
	if kept.Accepted {
		for _, n := range kept.Numbers {
			if ledgerOf(n) == 0 {
				d.counted[n] = true
			}
		}
		close(d.more)
		d.more = make(chan struct{})
	}
}

// progress returns how many events of the main topic counted, and a channel that is closed when
// there are more.
func (d *launchDarkly) progress() (int, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.counted), d.more
}

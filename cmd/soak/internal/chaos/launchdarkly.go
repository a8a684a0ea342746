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
	bodyLimit = 16 << 10 // larger bodies are rejected; some full batches exceed the limit, but single events do not
)

// randomFaults lists the faults injected at random. They include all transient faults, before and
// after LaunchDarkly accepts the request, and some faults that halt delivery.
var randomFaults = append(ldtest.TransientFaults(), ldtest.Fault{Status: 302}, ldtest.Fault{Status: 401})

// slowResponses is LaunchDarkly's behavior without random faults. Responses are slow so that
// requests are in flight when other faults occur.
var slowResponses = []ldtest.Fault{{Kind: ldtest.Slow, For: 150 * time.Millisecond, Accepted: true}}

// launchDarkly is a fake LaunchDarkly, served by this process, that records all requests.
type launchDarkly struct {
	*ldtest.Server
	url    string
	server *http.Server

	memberOf func(remote string) string // returns the name of the member behind a remote address

	mu       sync.Mutex // guards the fields below
	requests []Request
	counted  map[int]bool  // record numbers of the main topic's counted events
	grew     chan struct{} // closed and replaced when a request is accepted; counted might have grown
}

// newLaunchDarkly starts the fake LaunchDarkly. memberOf returns the name of the member behind a
// remote address.
func newLaunchDarkly(journal io.Writer, memberOf func(remote string) string) (*launchDarkly, error) {
	d := &launchDarkly{counted: map[int]bool{}, memberOf: memberOf, grew: make(chan struct{})}
	d.Server = ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), OnRequest: d.record, Journal: journal})
	d.Poison(ldtest.Containing(poison))
	d.Limit(bodyLimit)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the fake LaunchDarkly: %w", err)
	}
	d.url = "http://" + listener.Addr().String()
	d.server = &http.Server{Handler: http.HandlerFunc(d.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go d.server.Serve(listener) //nolint:errcheck // always ErrServerClosed
	return d, nil
}

// memberHeader is the header that passes the member's name from serve to record.
const memberHeader = "Chaos-Member"

func (d *launchDarkly) serve(w http.ResponseWriter, r *http.Request) {
	r.Header.Set(memberHeader, d.memberOf(r.RemoteAddr))
	d.Server.ServeHTTP(w, r)
}

// record stores the parts of a request that the checker needs.
func (d *launchDarkly) record(r ldtest.Request) {
	kept := Request{
		Arrived: r.Time, Done: time.Now(), Member: r.Header.Get(memberHeader), ID: r.PayloadID, Hash: r.Hash,
		Status: r.Status, Accepted: r.Accepted, Duplicate: r.Duplicate,
	}
	for _, id := range r.Identities {
		n, err := strconv.Atoi(id)
		if err != nil {
			n = -1 // not the number of a produced record
		}
		kept.Numbers = append(kept.Numbers, n)
	}
	for _, v := range r.Violations {
		kept.Faults = append(kept.Faults, v.Rule+" "+v.Detail)
	}
	for _, x := range r.Drops {
		kept.Faults = append(kept.Faults, fmt.Sprintf("event %d dropped: %s", x.Index, x.Reason))
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
		close(d.grew)
		d.grew = make(chan struct{})
	}
}

// progress returns the number of counted events in the main topic, and a channel that is closed
// when the number might have grown.
func (d *launchDarkly) progress() (int, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.counted), d.grew
}

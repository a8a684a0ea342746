package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// latency is how long the receiver waits before responding.
const latency = time.Millisecond

// receiver is a fake LaunchDarkly that accepts every request and stores it until the next report.
type receiver struct {
	mu       sync.Mutex // guards the field below
	requests []request  // in order of arrival
}

type request struct {
	arrived   time.Time // when the last byte of the body was read
	payloadID string
	gzip      bool
	body      []byte // still compressed if gzip is set
}

// received is the receiver's report on all requests since the previous report.
type received struct {
	tally             // after deduplication by payload ID
	Requests  int     // including duplicates
	PerSecond float64 // events per second
}

func runReceiver(_ *options, stdin io.Reader, stdout io.Writer) error {
	rc := &receiver{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: rc}
	defer server.Close()
	go server.Serve(listener) //nolint:errcheck // returns only after Close
	steady := 0
	return obey(stdin, stdout, map[string]func() (any, error){
		"address": func() (any, error) { return "http://" + listener.Addr().String(), nil },
		"requests": func() (any, error) {
			rc.mu.Lock()
			defer rc.mu.Unlock()
			steady = len(rc.requests)
			return steady, nil
		},
		"report":   func() (any, error) { return report(rc.take(), steady) },
		"arrivals": func() (any, error) { return arrivals(rc.take()) },
	})
}

// take returns the requests since the last call.
func (rc *receiver) take() []request {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	requests := rc.requests
	rc.requests = nil
	return requests
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, max(r.ContentLength, 0))
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return
	}
	rc.mu.Lock()
	rc.requests = append(rc.requests, request{
		time.Now(), r.Header.Get("X-LaunchDarkly-Payload-ID"), r.Header.Get("Content-Encoding") == "gzip", body,
	})
	rc.mu.Unlock()
	time.Sleep(latency)
	w.WriteHeader(http.StatusAccepted)
}

// report decompresses the requests and counts their events. steady is the number of requests at the
// last progress check before the forwarder was told to stop.
func report(requests []request, steady int) (r received, err error) {
	seen := make(map[string]bool, len(requests))
	inBetween := int64(0) // events in requests[1:steady]
	for i, request := range requests {
		r.Requests++
		if seen[request.payloadID] {
			continue
		}
		seen[request.payloadID] = true
		t, err := count(request)
		if err != nil {
			return r, fmt.Errorf("request %s: %w", request.payloadID, err)
		}
		r.Events += t.Events
		r.Sum += t.Sum
		if i > 0 && i < steady {
			inBetween += t.Events
		}
	}
	if inBetween > 0 {
		r.PerSecond = float64(inBetween) / requests[steady-1].arrived.Sub(requests[0].arrived).Seconds()
	}
	return r, nil
}

// arrival is the time of the 2xx response for an event.
type arrival struct {
	Number int64 // event number
	At     time.Time
}

// arrivals returns the arrivals of all events in the requests, including duplicates.
func arrivals(requests []request) (all []arrival, err error) {
	for _, request := range requests {
		err := request.each(func(n int64) { all = append(all, arrival{n, request.arrived.Add(latency)}) })
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// count counts the events in a request body and adds up their event numbers.
func count(r request) (t tally, err error) {
	err = r.each(func(n int64) {
		t.Events++
		t.Sum += n
	})
	return t, err
}

// number is the JSON text that precedes the event number, which is the first generated property.
const number = `"data":{"` + segmenttest.NumberField + `":`

// each calls visit with the number of each event in the request body.
func (r *request) each(visit func(number int64)) error {
	body := r.body
	if r.gzip {
		unpacked, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		if body, err = io.ReadAll(unpacked); err != nil {
			return err
		}
	}
	for {
		_, rest, found := bytes.Cut(body, []byte(number))
		if !found {
			return nil
		}
		n := int64(0)
		for len(rest) > 0 && '0' <= rest[0] && rest[0] <= '9' {
			n = 10*n + int64(rest[0]-'0')
			rest = rest[1:]
		}
		visit(n)
		body = rest
	}
}

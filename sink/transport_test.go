package sink

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// This test runs over TCP on the loopback interface, with the production transport.
func TestProductionTransportReusesConnections(t *testing.T) {
	for _, secure := range []bool{false, true} {
		ld := ldtest.New(ldtest.Config{Retain: true})
		const inFlight, rounds = 8, 5
		var together sync.WaitGroup // the requests of a round, so that each needs a connection
		together.Add(inFlight)
		var conns, http2 atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 {
				http2.Add(1)
			}
			together.Done()
			together.Wait()
			ld.ServeHTTP(w, r)
		}))
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		}
		var roots *x509.CertPool
		if secure {
			server.EnableHTTP2 = true
			server.StartTLS()
			roots = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		} else {
			server.Start()
		}
		client, err := New(Config{
			EventsURL: server.URL, Endpoint: ClientSide, ClientSideID: ldtest.Sample.ClientSideID,
			Schema: 3, Version: "1", RootCAs: roots,
			MaxInFlight: inFlight, Timeout: 10 * time.Second, BackoffMin: time.Second, BackoffMax: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			var done sync.WaitGroup
			for i := range inFlight {
				buffer := NewBuffer(10, 10_000)
				buffer.Extend(append(buffer.Bytes(), append(event(3, i, 0), ',')...), 1, 0, time.Now())
				batch := buffer.Seal(Source{Partition: int32(i)}, 0, int64(round), int64(round)+1, true)
				done.Add(1)
				client.Deliver(t.Context(), Delivery{Batch: batch, Done: func(err error) {
					if err != nil {
						t.Error(err)
					}
					done.Done()
				}})
			}
			done.Wait()
			together.Add(inFlight)
		}
		client.Close()
		server.Close()
		if n := ld.Report(); n.Processed != inFlight*rounds || n.ViolationCount > 0 {
			t.Errorf("%+v", n)
		}
		if n := conns.Load(); n > inFlight {
			t.Errorf("secure %v: %d connections for %d requests in flight", secure, n, inFlight)
		}
		if n := http2.Load(); (n == inFlight*rounds) != secure {
			t.Errorf("secure %v: %d requests over HTTP/2", secure, n)
		}
	}
}

// production is a client with the production transport, connected to an in-memory server. Its
// timeout is 3 s.
type production struct {
	client *Client
	next   int64 // offset of the next batch
}

// inProduction runs a test in a bubble with a server for HTTP/1.1, or for HTTP/2 over TLS.
// accepted, if not nil, may wrap a connection on the server's side.
func inProduction(t *testing.T, http2 bool, serve http.HandlerFunc, accepted func(net.Conn) net.Conn,
	test func(t *testing.T, p *production)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pipe := ldtest.NewPipe()
		server := httptest.Server{
			Listener: listener{pipe, accepted}, EnableHTTP2: http2,
			Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := map[bool]int{false: 1, true: 2}[http2]; r.ProtoMajor != want {
					t.Errorf("HTTP/%d, want HTTP/%d", r.ProtoMajor, want)
				}
				if _, err := io.Copy(io.Discard, r.Body); err == nil {
					serve(w, r)
				}
			})},
		}
		p := new(production)
		cfg := Config{
			EventsURL: "http://example.com", Endpoint: ClientSide, ClientSideID: ldtest.Sample.ClientSideID,
			Schema: 3, Version: "1",
			MaxInFlight: 16, Timeout: 3 * time.Second, BackoffMin: 100 * time.Millisecond, BackoffMax: time.Second,
		}
		if http2 {
			cfg.EventsURL = "https://example.com" // the name in the certificate of the test server
			server.StartTLS()
			cfg.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		} else {
			server.Start()
		}
		var err error
		if p.client, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		transport := p.client.cfg.Transport.(*http.Transport)
		transport.DialContext = pipe.DialContext
		test(t, p)
		p.client.Close()
		server.CloseClientConnections()
		server.Close()
	})
}

// deliver delivers a batch of one event and returns how long that took.
func (p *production) deliver(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	buffer := NewBuffer(10, 10_000)
	buffer.Extend(append(buffer.Bytes(), append(event(3, int(p.next), 0), ',')...), 1, p.next, time.Now())
	started, done := time.Now(), make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	p.client.Deliver(ctx, Delivery{
		Batch: buffer.Seal(Source{}, 0, p.next, p.next+1, false), Done: func(err error) { done <- err },
	})
	p.next++
	if err := <-done; err != nil {
		t.Errorf("not delivered within %v: %v", within, err)
	}
	return time.Since(started)
}

// requests returns the number of requests with the given code.
func (p *production) requests(code string) float64 {
	return testutil.ToFloat64(p.client.metrics.requests.WithLabelValues(code))
}

// listener applies a function to accepted connections.
type listener struct {
	net.Listener
	accepted func(net.Conn) net.Conn
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil && l.accepted != nil {
		conn = l.accepted(conn)
	}
	return conn, err
}

// onBothVersions runs a test with HTTP/1.1 and with HTTP/2.
func onBothVersions(t *testing.T, test func(t *testing.T, http2 bool)) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%v", http2), func(t *testing.T) { test(t, http2) })
	}
}

// Otherwise a server could fill memory with headers, 10 MiB per request.
func TestResponseHeadersAreLimited(t *testing.T) {
	onBothVersions(t, func(t *testing.T, http2 bool) {
		var size atomic.Int32
		serve := func(w http.ResponseWriter, _ *http.Request) {
			for range size.Load() >> 10 {
				w.Header().Add("X-Long", strings.Repeat("x", 1000))
			}
			w.WriteHeader(http.StatusAccepted)
		}
		inProduction(t, http2, serve, nil, func(t *testing.T, p *production) {
			size.Store(maxHeaderBytes - 4<<10)
			p.deliver(t, time.Minute)
			if p.requests("202") != 1 {
				t.Errorf("a response with headers of %d bytes was not accepted", size.Load())
			}
			size.Store(maxHeaderBytes + 8<<10)
			time.AfterFunc(2*time.Second, func() { size.Store(0) })
			p.deliver(t, time.Minute)
			if p.requests(codeError) == 0 || p.requests("202") != 2 {
				t.Error("a response with headers above the limit was accepted")
			}
		})
	})
}

// late is a transport that returns each response one second after its headers have arrived.
type late struct{ *http.Transport }

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.Transport.RoundTrip(r)
	time.Sleep(time.Second)
	return response, err
}

// Go's default for HTTP/2 is 4 MiB per response.
func TestBufferedResponseBytesAreLimited(t *testing.T) {
	onBothVersions(t, func(t *testing.T, http2 bool) {
		var written atomic.Int64
		serve := func(w http.ResponseWriter, _ *http.Request) {
			if written.Load() > 0 {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			for line := make([]byte, 1<<10); written.Load() < 100<<20; {
				n, err := w.Write(line)
				if written.Add(int64(n)); err != nil {
					return
				}
			}
		}
		inProduction(t, http2, serve, nil, func(t *testing.T, p *production) {
			p.client.cfg.Transport = late{p.client.cfg.Transport.(*http.Transport)}
			p.deliver(t, time.Minute)
			if n := written.Load(); n > 4*maxResponseBytes { // buffers of the client and the server
				t.Errorf("the server sent %d bytes", n)
			}
		})
	})
}

// hole is a connection that can go silent. From then on it loses everything written to it, and
// reads block.
type hole struct {
	net.Conn
	silent atomic.Bool
}

func (h *hole) Read(p []byte) (int, error) {
	for {
		if n, err := h.Conn.Read(p); err != nil || !h.silent.Load() {
			return n, err
		}
	}
}

func (h *hole) Write(p []byte) (int, error) {
	if h.silent.Load() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}

// HTTP/2 sends all requests over one connection, and a request that times out leaves it open.
func TestSilentConnectionIsReplaced(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Second, time.Minute} {
		t.Run(fmt.Sprint(idle), func(t *testing.T) {
			onBothVersions(t, func(t *testing.T, http2 bool) {
				var last atomic.Pointer[hole]
				accepted := func(conn net.Conn) net.Conn {
					h := &hole{Conn: conn}
					last.Store(h)
					return h
				}
				serve := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }
				inProduction(t, http2, serve, accepted, func(t *testing.T, p *production) {
					p.deliver(t, time.Minute)
					time.Sleep(idle)
					p.deliver(t, time.Minute)
					first := last.Load()
					first.silent.Store(true)
					timeout := p.client.cfg.Timeout
					if took := p.deliver(t, time.Minute); took > 2*timeout {
						t.Errorf("the first request after the silence took %v with a timeout of %v", took, timeout)
					}
					if took := p.deliver(t, time.Minute); took > 0 {
						t.Errorf("the second request after the silence took %v", took)
					}
					if last.Load() == first {
						t.Error("the silent connection is still in use")
					}
				})
			})
		})
	}
}

// A connection that is waiting for a slow response is not silent.
func TestSlowResponseKeepsTheConnection(t *testing.T) {
	onBothVersions(t, func(t *testing.T, http2 bool) {
		var conns atomic.Int32
		accepted := func(conn net.Conn) net.Conn { conns.Add(1); return conn }
		serve := func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(2900 * time.Millisecond)
			w.WriteHeader(http.StatusAccepted)
		}
		inProduction(t, http2, serve, accepted, func(t *testing.T, p *production) {
			for range 5 {
				p.deliver(t, 2950*time.Millisecond)
				time.Sleep(time.Minute)
			}
			if n := conns.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	})
}

func TestPingsFollowTheTimeout(t *testing.T) {
	for timeout, want := range map[time.Duration][2]time.Duration{
		time.Millisecond: {time.Second, time.Second},
		3 * time.Second:  {1500 * time.Millisecond, 1500 * time.Millisecond},
		10 * time.Second: {5 * time.Second, 5 * time.Second},
		20 * time.Second: {10 * time.Second, 5 * time.Second},
		time.Hour:        {15 * time.Second, 5 * time.Second},
	} {
		if got := newTransport(1, timeout, nil).HTTP2; got.SendPingTimeout != want[0] || got.PingTimeout != want[1] {
			t.Errorf("timeout %v: ping after %v, ping timeout %v, want %v", timeout, got.SendPingTimeout, got.PingTimeout, want)
		}
	}
}

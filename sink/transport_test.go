package sink

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Over TCP on loopback, with the transport that production uses.
func TestOwnTransportReusesItsConnections(t *testing.T) {
	for _, secure := range []bool{false, true} {
		ld := ldtest.New(ldtest.Config{Retain: true})
		const inFlight, rounds = 8, 5
		var together sync.WaitGroup // of a round's requests, so that each needs a connection
		together.Add(inFlight)
		var conns, second atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 {
				second.Add(1)
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
		transport := newTransport(inFlight)
		if secure {
			server.EnableHTTP2 = true
			server.StartTLS()
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
		} else {
			server.Start()
		}
		client, err := New(Config{
			EventsURL: server.URL, Endpoint: ClientSide, ClientSideID: ldtest.Sample.ClientSideID, Schema: 3, Version: "1", Transport: transport,
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
		if n := second.Load(); (n == inFlight*rounds) != secure {
			t.Errorf("secure %v: %d requests by HTTP/2", secure, n)
		}
	}
}

package app

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestReadyzReportsStateAndReason(t *testing.T) {
	s := newStage(t, 1)
	admit := make(chan struct{})
	s.cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.SleepControl(func() { <-admit })
		return nil, nil, false
	})
	expect := func(when, readyz, page string) {
		t.Helper()
		if got := s.get("/readyz"); !strings.HasPrefix(got, readyz) {
			t.Errorf("%s: /readyz: %q, want %q", when, got, readyz)
		}
		if got := s.get("/"); !strings.Contains(got, "<h1>"+page+"</h1>") {
			t.Errorf("%s: the page does not contain %q:\n%s", when, page, got)
		}
		if got := s.get("/healthz"); got != "200 ok\n" {
			t.Errorf("%s: /healthz: %q", when, got)
		}
	}
	s.run()
	expect("before the join", "503 waiting to join the consumer group\n", "joining")

	close(admit)
	s.produce(track("u"))
	s.delivered(1)
	expect("delivering", "200 ok\n", "running")

	s.ld.Down(ldtest.Fault{Status: http.StatusUnauthorized})
	s.produce(track("u"))
	s.log.await(s.ctx, t, "delivery halted: LaunchDarkly rejected")
	expect("halted", "503 delivery halted since ", "halted")
	if got := s.get("/readyz"); !strings.Contains(got, "401 Unauthorized") {
		t.Errorf("/readyz does not contain the response: %q", got)
	}

	s.ld.Up()
	s.log.await(s.ctx, t, "LaunchDarkly available again")
	expect("recovered", "200 ok\n", "running")
	s.delivered(2)

	for len(s.arrived) > 0 {
		<-s.arrived
	}
	s.ld.Down(ldtest.Fault{Kind: ldtest.Hang})
	s.produce(track("u"))
	<-s.arrived
	s.stop()
	expect("shutting down", "503 shutting down\n", "draining")
	s.ld.Up()
	if err := <-s.done; err != nil {
		t.Error(err)
	}
}

func TestOnlyAStalledPollLoopIsUnhealthy(t *testing.T) {
	long := time.Now().Add(-pollStalled - time.Second)
	for name, c := range map[string]struct {
		status  consumer.Status
		healthy bool
	}{
		"not started":                      {consumer.Status{}, true},
		"polling":                          {consumer.Status{Joined: true, LastPoll: time.Now()}, true},
		"polling, with problems":           {consumer.Status{LastPoll: time.Now(), Problems: []string{"a"}}, true},
		"no commit for a long time":        {consumer.Status{Joined: true, LastPoll: time.Now(), LastCommit: long}, true},
		"no longer polling, shutting down": {consumer.Status{LastPoll: long, Leaving: true}, true},
		"stalled":                          {consumer.Status{LastPoll: long}, false},
	} {
		if reasons := unhealthy(c.status); (len(reasons) == 0) != c.healthy {
			t.Errorf("%s: %v", name, reasons)
		}
	}
}

func TestAdminServerRejectsOtherRequests(t *testing.T) {
	s := newStage(t, 1)
	s.run()
	s.log.await(s.ctx, t, "partitions assigned")
	for request, want := range map[string]int{
		"GET /": 200, "HEAD /": 200, "GET /metrics": 200, "HEAD /metrics": 200, "GET /delivered.json": 200,
		"GET /healthz": 200, "HEAD /readyz": 200,
		"POST /": 405, "PUT /metrics": 405, "DELETE /healthz": 405, "OPTIONS /": 405, "TRACE /readyz": 405,
		"GET /status.css": 404, "GET /debug/pprof/": 404, "GET /metrics/": 404, "GET /favicon.ico": 404, "POST /x": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		r := s.ask(method, path)
		if r.code != want {
			t.Errorf("%s: %d, want %d", request, r.code, want)
		}
		if method == http.MethodHead && r.body != "" {
			t.Errorf("%s: has a body", request)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := r.header.Get(header); got != want {
				t.Errorf("%s: %s: %q, want %q", request, header, got, want)
			}
		}
		policy := strings.Split(r.header.Get("Content-Security-Policy"), "; ")
		for _, rule := range []string{
			"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
		} {
			if !slices.Contains(policy, rule) {
				t.Errorf("%s: policy %q does not contain %s", request, policy, rule)
			}
		}
		if strings.Contains(strings.Join(policy, " "), "unsafe") {
			t.Errorf("%s: policy %q", request, policy)
		}
	}
}

func TestAdminServerLimitsClients(t *testing.T) {
	s := newStage(t, 1)
	s.run()
	r := s.ask(http.MethodGet, "/", "Cookie", strings.Repeat("x", 32<<10))
	if r.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("32 KiB of headers: %d", r.code)
	}
	server := s.server(s.ctx)
	if min(server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout) == 0 {
		t.Errorf("a timeout is missing: %+v", server)
	}
}

func TestAtMostRejectsExcessRequests(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	h := atMost(2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-end
	}))
	codes := make(chan int, 3)
	ask := func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, nil)
		codes <- w.Code
	}
	for range 2 {
		go ask()
		<-begun
	}
	ask()
	if code := <-codes; code != http.StatusServiceUnavailable {
		t.Errorf("third concurrent request: %d", code)
	}
	close(end)
	for range 2 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("one of the first two requests: %d", code)
		}
	}
	go func() { <-begun }()
	ask()
	if code := <-codes; code != http.StatusOK {
		t.Errorf("request after the others finished: %d", code)
	}
}

// Half of the clients send nothing, and the others never finish their request.
func TestProbesSucceedWhileClientsOccupyAllConnections(t *testing.T) {
	s := newStage(t, 1)
	s.run()
	var dialer net.Dialer
	conns := make([]net.Conn, 3*maxConnections)
	for i := range conns {
		conn, err := dialer.DialContext(s.ctx, "tcp", s.AdminAddress())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			_, _ = conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost:")) // fails if the server has closed conn
		}
		conns[i] = conn
	}
	if got := s.get("/healthz"); got != "200 ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	open := 0
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := conn.Read(make([]byte, 1)); errors.As(err, &timeout) && timeout.Timeout() {
			open++
		}
	}
	if open == 0 || open > maxConnections {
		t.Errorf("%d connections are open, want at most %d", open, maxConnections)
	}
}

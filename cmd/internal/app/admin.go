package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// server returns the admin server. ctx is the program's context. The limits disconnect slow
// clients, clients that send more than a scraper or a browser would, and excess clients.
func (a *App) server(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:                      a.adminHandler(ctx),
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  time.Minute,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     zap.NewStdLog(a.log.Named("admin")),
		ConnState:                    new(connections).onState,
	}
}

// maxConnections is the maximum number of connections to the admin server.
const maxConnections = 100

// connections limits the connections to the admin server. If there are too many, it closes the one
// that has been inactive for the longest time. A new connection is never rejected, so that clients
// that occupy all connections cannot make the probes fail.
type connections struct {
	mu   sync.Mutex // guards the field below
	open []net.Conn // by time of the last change of state, oldest first
}

// onState implements [http.Server.ConnState].
func (c *connections) onState(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(other net.Conn) bool { return other == conn })
	if state == http.StateClosed {
		return
	}
	c.open = append(c.open, conn)
	if len(c.open) > maxConnections {
		c.open[0].Close()
		c.open = slices.Delete(c.open, 0, 1)
	}
}

// adminHandler returns the handler of the admin server, which accepts only GET and HEAD.
func (a *App) adminHandler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", atMost(4, a.statusPage(ctx)))
	mux.Handle("GET /metrics", atMost(4, promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})))
	mux.Handle("GET /delivered.json", atMost(4, http.HandlerFunc(a.serveDelivered)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, unhealthy(a.consumer.Status()))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		read, sent := a.Status()
		respond(w, unready(ctx.Err() != nil, read, sent))
	})
	return secured(mux)
}

// secured adds security headers to the responses of h. The content security policy allows only the
// status page's own style and script.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// atMost limits h to n concurrent requests and responds with 503 to any others, so that expensive
// requests cannot pile up. The health probes are not limited.
func atMost(n int, h http.Handler) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			h.ServeHTTP(w, r)
		default:
			respond(w, []string{fmt.Sprintf("too many concurrent requests; the limit is %d", n)})
		}
	})
}

// respond sends 200 and "ok" or, if there are reasons, 503 and one reason per line.
func respond(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(reasons) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, strings.Join(reasons, "\n"))
}

// pollStalled is the time without a poll after which a replica is unhealthy. The poll loop
// continues even while LaunchDarkly is down.
const pollStalled = 2 * time.Minute

// unhealthy returns the reasons to restart the replica. A replica waiting for LaunchDarkly or the
// brokers is healthy, because a restart would not help.
func unhealthy(s consumer.Status) (reasons []string) {
	if !s.Leaving && !s.LastPoll.IsZero() && time.Since(s.LastPoll) > pollStalled {
		reasons = append(reasons, fmt.Sprintf("no poll of Kafka for %v", time.Since(s.LastPoll).Round(time.Second)))
	}
	return reasons
}

// unready returns the reasons for failing /readyz: the replica is starting or stopping, delivery is
// halted, LaunchDarkly is unreachable, or the consumer has a problem.
func unready(stopping bool, read consumer.Status, sent sink.Status) (reasons []string) {
	switch {
	case stopping:
		reasons = append(reasons, "shutting down")
	case !read.Joined:
		reasons = append(reasons, "waiting to join the consumer group")
	}
	if h := sent.Halt; !h.Since.IsZero() {
		reasons = append(reasons, fmt.Sprintf("delivery halted since %s: %s. %s",
			h.Since.UTC().Format(time.RFC3339), h.Cause, h.Advice))
	}
	if o := sent.Outage; o.Unreachable {
		reasons = append(reasons, fmt.Sprintf("no response from LaunchDarkly since %s: %s. %s",
			o.Since.UTC().Format(time.RFC3339), o.Cause, o.Advice))
	}
	return append(reasons, read.Problems...)
}

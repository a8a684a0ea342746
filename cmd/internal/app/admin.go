package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// server returns the operator's HTTP server. ctx is the program's. A client that is
// slow, or sends more than a scraper or a browser does, is cut off.
func (a *App) server(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           a.admin(ctx),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     zap.NewStdLog(a.log.Named("admin")),
	}
}

// admin returns the handler. There is nothing to change here: GET and HEAD only.
func (a *App) admin(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", atMost(4, a.statusPage(ctx)))
	mux.Handle("GET /metrics", atMost(4, promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, unhealthy(a.consumer.Status())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, unready(ctx.Err() != nil, a.consumer.Status(), a.sink.Halted()))
	})
	return secured(mux)
}

// secured adds the headers that keep a browser from doing with a page what it is not
// meant for. The policy allows the status page's own style and script, and nothing else.
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

// atMost answers 503 while n requests are being answered, so that what takes time
// cannot be piled up. Probes are not limited: they must get through.
func atMost(n int, h http.Handler) http.Handler {
	places := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			h.ServeHTTP(w, r)
		default:
			answer(w, []string{fmt.Sprintf("%d requests are being answered already", n)})
		}
	})
}

// answer writes 200 ok, or 503 with a reason a line.
func answer(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(reasons) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, strings.Join(reasons, "\n"))
}

// pollStalled is how long the poll loop may stand still before a restart is better.
// While LaunchDarkly is down the loop still turns.
const pollStalled = 2 * time.Minute

// unhealthy returns why only a restart would help. What waits for LaunchDarkly or
// for brokers is healthy: a restart mends neither.
func unhealthy(s consumer.Status) (reasons []string) {
	if !s.Leaving && !s.LastPoll.IsZero() && time.Since(s.LastPoll) > pollStalled {
		reasons = append(reasons, fmt.Sprintf("no poll for %v", time.Since(s.LastPoll).Round(time.Second)))
	}
	return reasons
}

// unready returns why nothing is delivered until somebody mends it, or soon will not be.
func unready(stopping bool, s consumer.Status, h sink.Halt) (reasons []string) {
	switch {
	case stopping:
		reasons = append(reasons, "shutting down")
	case !s.Joined:
		reasons = append(reasons, "the consumer group has not let this member in yet")
	}
	if !h.Since.IsZero() {
		reasons = append(reasons, fmt.Sprintf("halted: LaunchDarkly refuses us since %s: %s", h.Since.UTC().Format(time.RFC3339), h.Response))
	}
	return append(reasons, s.Problems...)
}

package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// admin returns the handler of the operator's HTTP server. ctx is the program's.
func (a *App) admin(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{ErrorLog: nil, MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.unhealthy()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.unready(ctx)) })
	return mux
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
func (a *App) unhealthy() (reasons []string) {
	if s := a.consumer.Status(); !s.Leaving && !s.LastPoll.IsZero() && time.Since(s.LastPoll) > pollStalled {
		reasons = append(reasons, fmt.Sprintf("no poll for %v", time.Since(s.LastPoll).Round(time.Second)))
	}
	return reasons
}

// unready returns why nothing is delivered, or soon will not be.
func (a *App) unready(ctx context.Context) (reasons []string) {
	s := a.consumer.Status()
	switch {
	case ctx.Err() != nil:
		reasons = append(reasons, "shutting down")
	case !s.Joined:
		reasons = append(reasons, "the consumer group has not let this member in yet")
	}
	if h := a.sink.Halted(); !h.Since.IsZero() {
		reasons = append(reasons, fmt.Sprintf("halted: LaunchDarkly refuses us since %s: %s", h.Since.UTC().Format(time.RFC3339), h.Answer))
	}
	return append(reasons, s.Problems...)
}

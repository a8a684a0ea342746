package ldtest

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config says what the fake knows and what it keeps. The zero Config is usable.
type Config struct {
	// Environments are the LaunchDarkly environments that exist. Default: Sample.
	Environments []Environment

	// MaxBytes is the size from which on a body, uncompressed, is answered 413.
	// Default 10,000,000; at most 16 MiB.
	MaxBytes int

	// Identity names an event in Request.Identities, so that a checker need not
	// keep bodies. Nil: no identities. See [DataField].
	Identity func(event []byte) string

	// OnRequest is called for each request, one at a time, in the order in which
	// they take effect, before the answer is sent. It must not block nor call the
	// Server.
	OnRequest func(Request)

	// Journal receives each request as one line of JSON, in one Write, in the same
	// order and also before the answer. A file opened with O_APPEND survives the
	// process. Read it with [ReadJournal].
	Journal io.Writer

	// Retain keeps every request, with headers and body, for [Server.Requests] and
	// [Server.Events]. Without it, memory grows by about 100 bytes per payload ID.
	Retain bool
}

// Environment is one environment of LaunchDarkly, as each door names it.
type Environment struct {
	ClientSideID        string // client_side
	Project, Key, Token string // metric_import
}

// Sample is the environment that exists by default.
var Sample = Environment{
	ClientSideID: "5f0c1d2e3b4a59687766554f",
	Project:      "sample-project",
	Key:          "test",
	Token:        "api-00000000-0000-4000-8000-000000000000",
}

// Server is the fake. Make one with [New]; serve it as an http.Handler.
type Server struct {
	cfg Config

	mu      sync.Mutex // guards the fields below
	plan    plan
	history history
}

// New returns a fake that has seen nothing yet. For use in a testing/synctest
// bubble, call it in the bubble.
func New(cfg Config) *Server {
	if len(cfg.Environments) == 0 {
		cfg.Environments = []Environment{Sample}
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10_000_000
	}
	return &Server{cfg: cfg, plan: plan{limit: cfg.MaxBytes}, history: newHistory()}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, names := route(r.URL.Path)
	delivers := r.Method == http.MethodPost && (to == clientSide || to == metricImport)

	s.mu.Lock()
	a := &arrival{
		Request: Request{
			Time:      time.Now(),
			Method:    r.Method,
			Path:      r.URL.Path,
			PayloadID: r.Header.Get(payloadIDHeader),
			Fault:     s.plan.next(delivers),
			Header:    r.Header,
		},
		poison: s.plan.poison,
		limit:  s.plan.limit,
	}
	s.mu.Unlock()

	switch {
	case delivers:
		s.deliver(r, a, to, names)
	case !a.Fault.passes():
		a.Status = a.Fault.status()
	default:
		s.look(a, to, names)
	}
	s.record(a)

	switch {
	case a.gone:
		panic(http.ErrAbortHandler)
	case !a.Fault.passes():
		a.Fault.do(w, r)
	case a.Fault.Kind == Slow && a.Fault.Taken && !wait(r.Context(), a.Fault.For):
		panic(http.ErrAbortHandler)
	default:
		answer(w, a.Status, a.Refusal)
	}
}

// look decides what a request is told that delivers nothing.
func (s *Server) look(a *arrival, to door, names []string) {
	switch {
	case to == nowhere:
		a.refuse(http.StatusNotFound, "no such resource")
	case to == redirected:
		a.Status = http.StatusOK
		a.violate(FollowedRedirect, a.Method)
	case to != goals || a.Method != http.MethodHead:
		a.refuse(http.StatusMethodNotAllowed, "method not allowed")
	case !s.knows(names[0]):
		a.refuse(http.StatusNotFound, "unknown client-side ID")
	default:
		a.Status = http.StatusOK
	}
}

// deliver reads a request to one of the two doors and decides whether it is taken
// and what it is told.
func (s *Server) deliver(r *http.Request, a *arrival, to door, names []string) {
	a.checkHeaders(r)
	if a.Fault.Kind == ResetUnread {
		return
	}
	unreadable := a.read(r)
	if errors.Is(unreadable, errCutShort) || a.Fault.Kind == Slow && !a.Fault.Taken && !wait(r.Context(), a.Fault.For) {
		a.refuse(0, "the client gave up")
		a.gone = true
		return
	}

	status, reason := s.refusal(r, to, names)
	switch {
	case status != 0:
		a.refuse(status, reason)
	case errors.Is(unreadable, errTooLarge) || len(a.Body) >= a.limit:
		a.refuse(http.StatusRequestEntityTooLarge, "the body is too large")
	case unreadable != nil:
		a.refuse(http.StatusBadRequest, unreadable.Error())
	case a.poison != nil && slices.ContainsFunc(a.events, a.poison):
		a.refuse(http.StatusBadRequest, "an event is malformed")
	default:
		a.Status = http.StatusAccepted
		a.Taken = a.Fault.Taken || a.Fault.passes()
	}

	switch {
	case a.Fault.passes():
	case a.Fault.Taken && !a.Taken:
		a.Fault = Fault{} // it cannot happen after taking what is refused
	default:
		a.Refusal, a.Status = "", a.Fault.status()
	}
}

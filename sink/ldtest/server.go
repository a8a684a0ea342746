package ldtest

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config configures a [Server]. The zero Config is usable.
type Config struct {
	// Environments lists the existing LaunchDarkly environments. Empty means only Sample.
	Environments []Environment

	// MaxBytes is the smallest uncompressed body size, in bytes, rejected with 413. It must not
	// exceed 16 MiB. Zero means 10,000,000.
	MaxBytes int

	// Identity returns the identity of an event for Request.Identities, so that a checker does not
	// need to keep bodies. Nil means no identities. See [DataField].
	Identity func(event []byte) string

	// OnRequest is called for each request before the response is sent. The calls are sequential,
	// in the order in which requests take effect. OnRequest must not block or call the Server.
	OnRequest func(Request)

	// Journal receives each request as one line of JSON before the response is sent. Each line is
	// written with a single Write, in the order of the OnRequest calls. Open a file with O_APPEND,
	// so that a restarted process appends to it. [ReadJournal] reads the journal.
	Journal io.Writer

	// Retain keeps every request, with its headers and body, for [Server.Requests] and
	// [Server.Events]. If Retain is false, memory still grows by about 100 bytes per payload ID.
	Retain bool

	// API is LaunchDarkly's REST API, which the fake then serves under /api/v2/. Nil means that these
	// paths do not exist.
	API *API
}

// Environment identifies a LaunchDarkly environment for both endpoints.
type Environment struct {
	ClientSideID        string // for client_side
	Project, Key, Token string // for metric_import
}

// Sample is the default environment.
var Sample = Environment{
	ClientSideID: "5f0c1d2e3b4a59687766554f",
	Project:      "sample-project",
	Key:          "test",
	Token:        "api-00000000-0000-4000-8000-000000000000",
}

// Server is a fake of LaunchDarkly's events service. It implements [http.Handler]. Use [New] to
// create one.
type Server struct {
	cfg Config

	mu      sync.Mutex // guards the fields below
	plan    plan
	history history
}

// New returns a fake. In a testing/synctest bubble, call New inside the bubble.
func New(cfg Config) *Server {
	if len(cfg.Environments) == 0 {
		cfg.Environments = []Environment{Sample}
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10_000_000
	}
	return &Server{cfg: cfg, plan: plan{limit: cfg.MaxBytes}, history: newHistory()}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.API != nil && strings.HasPrefix(r.URL.Path, apiPath) {
		s.cfg.API.serve(w, r, s.cfg.Environments)
		return
	}
	to, names := parseRoute(r.URL.Path)
	delivers := r.Method == http.MethodPost && (to == clientSide || to == metricImport)

	s.mu.Lock()
	a := &arrival{
		Request: Request{
			Time:      time.Now(),
			Method:    r.Method,
			Path:      r.URL.Path,
			PayloadID: r.Header.Get(payloadIDHeader),
			Fault:     s.plan.takeNext(delivers),
			Header:    r.Header,
		},
		poison: s.plan.poison,
		limit:  s.plan.limit,
	}
	s.mu.Unlock()

	switch {
	case delivers:
		s.receive(r, a, to, names)
	case !a.Fault.passes():
		a.Status = a.Fault.status()
	default:
		s.serveOther(a, to, names)
	}
	s.record(a)

	switch {
	case a.gone:
		panic(http.ErrAbortHandler)
	case !a.Fault.passes():
		a.Fault.apply(w, r)
	case a.Fault.Kind == Slow && a.Fault.Accepted && !sleep(r.Context(), a.Fault.For):
		panic(http.ErrAbortHandler)
	default:
		writeResponse(w, a.Status, a.Rejection)
	}
}

// serveOther decides the response to a request that delivers no events.
func (s *Server) serveOther(a *arrival, to route, names []string) {
	switch {
	case to == notFound:
		a.reject(http.StatusNotFound, "no such resource")
	case to == redirected:
		a.Status = http.StatusOK
		a.addViolation(FollowedRedirect, a.Method)
	case to != goals || a.Method != http.MethodHead:
		a.reject(http.StatusMethodNotAllowed, "method not allowed")
	case !s.hasClientSideID(names[0]):
		a.reject(http.StatusNotFound, "unknown client-side ID")
	default:
		a.Status = http.StatusOK
	}
}

// receive reads a request that delivers events, and decides whether to accept it and how to
// respond.
func (s *Server) receive(r *http.Request, a *arrival, to route, names []string) {
	a.checkHeaders(r)
	if a.Fault.Kind == ResetUnread {
		return
	}
	unreadable := a.read(r)
	if errors.Is(unreadable, errCutShort) ||
		a.Fault.Kind == Slow && !a.Fault.Accepted && !sleep(r.Context(), a.Fault.For) {
		a.reject(0, "client disconnected")
		a.gone = true
		return
	}

	status, reason := s.rejection(r, to, names)
	switch {
	case status != 0:
		a.reject(status, reason)
	case errors.Is(unreadable, errTooLarge) || len(a.Body) >= a.limit:
		a.reject(http.StatusRequestEntityTooLarge, "body too large")
	case unreadable != nil:
		a.reject(http.StatusBadRequest, unreadable.Error())
	case a.poison != nil && slices.ContainsFunc(a.events, a.poison):
		a.reject(http.StatusBadRequest, "malformed event")
	default:
		a.Status = http.StatusAccepted
		a.Accepted = a.Fault.Accepted || a.Fault.passes()
	}

	switch {
	case a.Fault.passes():
	case a.Fault.Accepted && !a.Accepted:
		a.Fault = Fault{} // a fault with Accepted applies only to valid requests
	default:
		a.Rejection, a.Status = "", a.Fault.status()
	}
}

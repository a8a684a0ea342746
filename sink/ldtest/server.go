package ldtest

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// Config says what the fake knows and what it keeps. The zero Config is usable.
type Config struct {
	// Environments are the LaunchDarkly environments that exist. Default: Sample.
	Environments []Environment

	// MaxBytes is the size from which on a body, uncompressed, is answered 413.
	// Default 10,000,000; at most 64 MiB.
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
	// [Server.Events]. Without it, memory grows by some 80 bytes per payload ID.
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

	mu   sync.Mutex // guards everything below
	plan plan
	log  log
}

// New returns a fake that has seen nothing yet.
func New(cfg Config) *Server {
	if len(cfg.Environments) == 0 {
		cfg.Environments = []Environment{Sample}
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10_000_000
	}
	return &Server{cfg: cfg, plan: plan{limit: cfg.MaxBytes}, log: newLog()}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &arrival{Request: Request{
		Time:      time.Now(),
		Method:    r.Method,
		Path:      r.URL.Path,
		PayloadID: r.Header.Get(payloadIDHeader),
		Header:    r.Header,
	}}
	door, names := route(r.URL.Path)
	switch {
	case door == nowhere:
		a.refuse(http.StatusNotFound, "no such resource")
	case door == redirected:
		a.Status = http.StatusOK
		a.violate(FollowedRedirect, r.Method)
	case door == goals && r.Method == http.MethodHead:
		a.Status = http.StatusOK
		if !s.knows(names[0]) {
			a.refuse(http.StatusNotFound, "unknown client-side ID")
		}
	case door != goals && r.Method == http.MethodPost:
		s.post(w, r, a, door, names)
		return
	default:
		a.refuse(http.StatusMethodNotAllowed, "method not allowed")
	}
	s.record(a)
	answer(w, a.Status, a.Refusal)
}

// post answers a request to one of the two doors.
func (s *Server) post(w http.ResponseWriter, r *http.Request, a *arrival, door door, names []string) {
	s.mu.Lock()
	fault, poison, limit := s.plan.next(), s.plan.poison, s.plan.limit
	s.mu.Unlock()

	a.Fault = fault
	a.checkHeaders(r)
	if fault.Kind == ResetUnread {
		s.record(a)
		fault.do(w, r)
		return
	}
	unreadable := a.read(r)
	if unreadable == errCutShort || fault.Kind == Slow && !fault.Taken && !wait(r.Context(), fault.For) {
		a.Refusal = "the client gave up"
		s.record(a)
		panic(http.ErrAbortHandler)
	}

	a.Status = http.StatusAccepted
	if status, reason := s.refusal(r, door, names); status != 0 {
		a.refuse(status, reason)
	} else if unreadable == errTooLarge || len(a.Body) >= limit {
		a.refuse(http.StatusRequestEntityTooLarge, "the body is too large")
	} else if unreadable != nil {
		a.refuse(http.StatusBadRequest, unreadable.Error())
	} else if poison != nil && a.anyEvent(poison) {
		a.refuse(http.StatusBadRequest, "an event is malformed")
	}

	refused := a.Status != http.StatusAccepted
	a.Taken = !refused && (fault.Taken || fault.passes())
	if fault.Taken && refused && !fault.passes() {
		fault, a.Fault = Fault{}, Fault{} // it cannot take what is refused
	}
	if !fault.passes() {
		a.Status, a.Refusal = fault.status(), ""
	}
	s.record(a)

	switch {
	case !fault.passes():
		fault.do(w, r)
	case fault.Kind == Slow && fault.Taken && !wait(r.Context(), fault.For):
		panic(http.ErrAbortHandler)
	default:
		answer(w, a.Status, a.Refusal)
	}
}

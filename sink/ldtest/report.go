package ldtest

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// Report is what the fake has seen so far.
type Report struct {
	Requests   map[int]int    `json:"requests"`   // by the status told; 0: no readable answer
	Faults     map[string]int `json:"faults"`     // requests by the fault that they met
	Scripted   int            `json:"scripted"`   // faults in the script, not used up yet
	Taken      int            `json:"taken"`      // events in requests taken, duplicates included
	Processed  int            `json:"processed"`  // events that count
	Dropped    int            `json:"dropped"`    // events taken and never processed
	Duplicates int            `json:"duplicates"` // requests taken once more under their payload ID

	ViolationCount int `json:"violation_count"`

	// Violations and Drops are the first hundred of each.
	Violations []Violation `json:"violations"`
	Drops      []Drop      `json:"drops"`
}

const reported = 100

// Violation is something that a correct client never does.
type Violation struct {
	Rule      string `json:"rule"`
	PayloadID string `json:"id,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// The rules. All but TwoBodies and JournalFailed look at one request alone.
const (
	TwoBodies        = "one payload ID with two bodies"
	NoPayloadID      = "no payload ID"
	NotUUID          = "payload ID is not a UUID"
	NoSchema         = "no event schema header"
	ContentType      = "content type is not application/json"
	NoEvents         = "a request without events"
	FollowedRedirect = "followed a redirect"
	JournalFailed    = "the fake could not write its journal"
)

// Drop is an event that LaunchDarkly takes and never processes.
type Drop struct {
	PayloadID string `json:"id,omitempty"`
	Index     int    `json:"index"` // in the body, from 0
	Reason    string `json:"reason"`
}

// Report returns what the fake has seen so far.
func (s *Server) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.history.report
	r.Requests, r.Faults = maps.Clone(r.Requests), maps.Clone(r.Faults)
	r.Violations, r.Drops = slices.Clone(r.Violations), slices.Clone(r.Drops)
	r.Scripted = len(s.plan.script)
	return r
}

// Requests returns every request, in order. It needs Config.Retain.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history.requests)
}

// Events returns the events that count, in order. It needs Config.Retain.
func (s *Server) Events() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history.processed)
}

// Wait blocks until so many events count, or ctx ends.
func (s *Server) Wait(ctx context.Context, processed int) error {
	for {
		s.mu.Lock()
		n, more := s.history.report.Processed, s.history.more
		s.mu.Unlock()
		if n >= processed {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// history is the memory of the fake.
type history struct {
	report    Report
	ids       map[uuid.UUID]first
	requests  []Request     // with Config.Retain
	processed [][]byte      // with Config.Retain
	more      chan struct{} // closed, and replaced, when Processed grows
}

// first is what came first under a payload ID.
type first struct {
	hash  Hash
	taken bool // that request, or a later one
}

func newHistory() history {
	return history{
		report: Report{
			Requests: map[int]int{}, Faults: map[string]int{},
			Violations: []Violation{}, Drops: []Drop{},
		},
		ids:  map[uuid.UUID]first{},
		more: make(chan struct{}),
	}
}

// record puts the arrival into all records: its effect, if it is taken, its
// violations, the journal, the caller's hook.
func (s *Server) record(a *arrival) {
	a.Events = len(a.events)
	if s.cfg.Identity != nil {
		for _, event := range a.events {
			a.Identities = append(a.Identities, s.cfg.Identity(event))
		}
	}
	var drops []Drop
	if a.Taken {
		for i, event := range a.events {
			if reason := dropped(event, a.schema); reason != "" {
				drops = append(drops, Drop{a.PayloadID, i, reason})
			}
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.history
	if id, ok := parseID(a.PayloadID); ok && a.Hash != (Hash{}) {
		seen, known := h.ids[id]
		if !known {
			seen.hash = a.Hash
		} else if seen.hash != a.Hash {
			a.violate(TwoBodies, "")
		}
		a.Duplicate = a.Taken && seen.taken
		seen.taken = seen.taken || a.Taken
		h.ids[id] = seen
	}
	if s.cfg.Journal != nil {
		if _, err := s.cfg.Journal.Write(a.journalLine()); err != nil {
			a.violate(JournalFailed, err.Error())
		}
	}
	if s.cfg.OnRequest != nil {
		s.cfg.OnRequest(a.Request)
	}
	h.add(a, drops, s.cfg.Retain)
}

// add counts the arrival.
func (h *history) add(a *arrival, drops []Drop, retain bool) {
	r := &h.report
	r.Requests[a.Status]++
	if a.Fault != (Fault{}) {
		r.Faults[a.Fault.String()]++
	}
	r.ViolationCount += len(a.violations)
	r.Violations = appendReported(r.Violations, a.violations)
	if retain {
		h.requests = append(h.requests, a.Request)
	}
	if !a.Taken {
		return
	}
	r.Taken += a.Events
	if a.Duplicate {
		r.Duplicates++
		return
	}
	r.Dropped += len(drops)
	r.Drops = appendReported(r.Drops, drops)
	r.Processed += a.Events - len(drops)
	if retain {
		for i, event := range a.events {
			if len(drops) > 0 && drops[0].Index == i {
				drops = drops[1:]
				continue
			}
			h.processed = append(h.processed, event)
		}
	}
	close(h.more)
	h.more = make(chan struct{})
}

// appendReported appends up to the number that is reported.
func appendReported[T any](list, more []T) []T {
	return append(list, more[:min(len(more), reported-len(list))]...)
}

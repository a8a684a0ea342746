package ldtest

import (
	"slices"

	"github.com/google/uuid"
)

// history contains the recorded requests and their effects.
type history struct {
	report    Report
	ids       map[uuid.UUID]idState
	requests  []Request     // with Config.Retain
	processed [][]byte      // with Config.Retain
	grew      chan struct{} // closed and replaced when Processed grows
}

// idState describes the requests received under a payload ID.
type idState struct {
	hash     Hash // hash of the first body
	accepted bool // whether any request was accepted
}

func newHistory() history {
	return history{
		report: Report{
			Requests: map[int]int{}, Faults: map[string]int{},
			Violations: []Violation{}, Drops: []Drop{},
		},
		ids:  map[uuid.UUID]idState{},
		grew: make(chan struct{}),
	}
}

// record records a request in the history and the journal, and passes it to Config.OnRequest. If
// the request is accepted, its events take effect.
func (s *Server) record(a *arrival) {
	a.Events = len(a.events)
	if s.cfg.Identity != nil {
		for _, event := range a.events {
			a.Identities = append(a.Identities, s.cfg.Identity(event))
		}
	}
	if a.Accepted {
		for i, event := range a.events {
			if reason := dropReason(event, a.schema); reason != "" {
				a.Drops = append(a.Drops, Drop{a.PayloadID, i, reason})
			}
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.history
	h.recordPayloadID(a)
	if s.cfg.Journal != nil {
		if _, err := s.cfg.Journal.Write(a.journalLine()); err != nil {
			a.addViolation(JournalFailed, err.Error())
		}
	}
	if s.cfg.OnRequest != nil {
		s.cfg.OnRequest(a.Request)
	}
	h.count(a, s.cfg.Retain)
	if s.cfg.API != nil && a.Accepted && !a.Duplicate {
		s.cfg.API.count(a, s.cfg.Environments)
	}
}

// recordPayloadID compares a request with earlier requests under the same payload ID. It adds a
// violation if the bodies differ, and marks an accepted request as a duplicate if an earlier one
// was accepted.
func (h *history) recordPayloadID(a *arrival) {
	id, ok := parseID(a.PayloadID)
	if !ok || a.Hash == (Hash{}) {
		return
	}
	state, known := h.ids[id]
	if !known {
		state.hash = a.Hash
	} else if state.hash != a.Hash {
		a.addViolation(TwoBodies, "")
	}
	if a.Accepted && state.accepted {
		a.Duplicate, a.Drops = true, nil
	}
	state.accepted = state.accepted || a.Accepted
	h.ids[id] = state
}

// count adds a request to the report.
func (h *history) count(a *arrival, retain bool) {
	r := &h.report
	r.Requests[a.Status]++
	if a.Fault != (Fault{}) {
		r.Faults[a.Fault.String()]++
	}
	r.ViolationCount += len(a.Violations)
	r.Violations = appendReported(r.Violations, a.Violations)
	if retain {
		h.requests = append(h.requests, a.Request)
	}
	if !a.Accepted {
		return
	}
	r.Accepted += a.Events
	if a.Duplicate {
		r.Duplicates++
		return
	}
	r.Dropped += len(a.Drops)
	r.Drops = appendReported(r.Drops, a.Drops)
	r.Processed += a.Events - len(a.Drops)
	if retain {
		h.processed = slices.AppendSeq(h.processed, a.processed())
	}
	close(h.grew)
	h.grew = make(chan struct{})
}

// appendReported appends entries to one of Report's lists, up to a total of 100.
func appendReported[T any](list, more []T) []T {
	return append(list, more[:min(len(more), 100-len(list))]...)
}

package ldtest

import "github.com/google/uuid"

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
	if a.Taken {
		for i, event := range a.events {
			if reason := dropped(event, a.schema); reason != "" {
				a.Drops = append(a.Drops, Drop{a.PayloadID, i, reason})
			}
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.history
	h.identify(a)
	if s.cfg.Journal != nil {
		if _, err := s.cfg.Journal.Write(a.journalLine()); err != nil {
			a.violate(JournalFailed, err.Error())
		}
	}
	if s.cfg.OnRequest != nil {
		s.cfg.OnRequest(a.Request)
	}
	h.add(a, s.cfg.Retain)
}

// identify compares the arrival with what came before under its payload ID.
func (h *history) identify(a *arrival) {
	id, ok := parseID(a.PayloadID)
	if !ok || a.Hash == (Hash{}) {
		return
	}
	seen, known := h.ids[id]
	if !known {
		seen.hash = a.Hash
	} else if seen.hash != a.Hash {
		a.violate(TwoBodies, "")
	}
	if a.Taken && seen.taken {
		a.Duplicate, a.Drops = true, nil
	}
	seen.taken = seen.taken || a.Taken
	h.ids[id] = seen
}

// add counts the arrival.
func (h *history) add(a *arrival, retain bool) {
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
	if !a.Taken {
		return
	}
	r.Taken += a.Events
	if a.Duplicate {
		r.Duplicates++
		return
	}
	r.Dropped += len(a.Drops)
	r.Drops = appendReported(r.Drops, a.Drops)
	r.Processed += a.Events - len(a.Drops)
	if retain {
		drops := a.Drops
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

// appendReported appends, up to the hundred that a Report lists.
func appendReported[T any](list, more []T) []T {
	return append(list, more[:min(len(more), 100-len(list))]...)
}

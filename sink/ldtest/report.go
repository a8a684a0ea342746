package ldtest

import (
	"context"
	"maps"
	"slices"
)

// Report summarizes the requests received so far.
type Report struct {
	Requests   map[int]int    `json:"requests"`   // by status; 0 means no readable response
	Faults     map[string]int `json:"faults"`     // requests by fault
	Scripted   int            `json:"scripted"`   // faults left in the script
	Accepted   int            `json:"accepted"`   // events in accepted requests, including duplicates
	Processed  int            `json:"processed"`  // events that count: neither duplicates nor dropped
	Dropped    int            `json:"dropped"`    // events accepted but never processed
	Duplicates int            `json:"duplicates"` // accepted requests whose payload ID had already been accepted

	ViolationCount int `json:"violation_count"`

	// Violations and Drops contain at most 100 entries each.
	Violations []Violation `json:"violations"`
	Drops      []Drop      `json:"drops"`
}

// Violation describes something that a correct client never does, or a failure to write the
// journal. Rule is one of the constants below.
type Violation struct {
	PayloadID string `json:"id,omitempty"`
	Rule      string `json:"rule"`
	Detail    string `json:"detail,omitempty"`
}

const (
	TwoBodies        = "one payload ID with two bodies"
	NoPayloadID      = "no payload ID"
	NotUUID          = "payload ID is not a UUID"
	NoSchema         = "no event schema header"
	ContentType      = "content type is not application/json"
	NoEvents         = "no events in the request"
	FollowedRedirect = "followed a redirect"
	JournalFailed    = "writing the journal failed"
)

// Drop describes an event that LaunchDarkly accepts but never processes.
type Drop struct {
	PayloadID string `json:"id,omitempty"`
	Index     int    `json:"index"` // index in the body, starting at 0
	Reason    string `json:"reason"`
}

// Report returns a summary of the requests received so far.
func (s *Server) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.history.report
	r.Requests, r.Faults = maps.Clone(r.Requests), maps.Clone(r.Faults)
	r.Violations, r.Drops = slices.Clone(r.Violations), slices.Clone(r.Drops)
	r.Scripted = len(s.plan.script)
	return r
}

// Requests returns every request, in order. It requires Config.Retain.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history.requests)
}

// Events returns the events that count, in order. It requires Config.Retain.
func (s *Server) Events() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history.processed)
}

// Wait blocks until Report.Processed reaches the given number or ctx is done.
func (s *Server) Wait(ctx context.Context, processed int) error {
	for {
		s.mu.Lock()
		n, more := s.history.report.Processed, s.history.grew
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

package ldtest

import (
	"context"
	"maps"
	"slices"
)

// Report is what the fake has seen so far.
type Report struct {
	Requests   map[int]int    `json:"requests"`   // by the status told; 0: no readable answer
	Faults     map[string]int `json:"faults"`     // requests by the fault that they met
	Scripted   int            `json:"scripted"`   // faults in the script, not used up yet
	Taken      int            `json:"taken"`      // events in requests taken, duplicates included
	Processed  int            `json:"processed"`  // events that count: neither duplicates nor dropped
	Dropped    int            `json:"dropped"`    // events taken and never processed
	Duplicates int            `json:"duplicates"` // requests taken once more under their payload ID

	ViolationCount int `json:"violation_count"`

	// Violations and Drops are the first hundred of each.
	Violations []Violation `json:"violations"`
	Drops      []Drop      `json:"drops"`
}

// Violation is something that a correct client never does. The rule is one of
// the constants below.
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

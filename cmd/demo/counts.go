package main

import (
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// callCounts are numbers of calls by reason.
type callCounts [transform.Reasons]int64

// of returns the number of calls with an outcome.
func (c callCounts) of(outcome transform.Outcome) (n int64) {
	for reason, calls := range c {
		if transform.Reason(reason).Outcome() == outcome {
			n += calls
		}
	}
	return n
}

// reasons lists the reasons of an outcome that occurred: "not_track 4,700, tombstone 20", or
// "none".
func (c callCounts) reasons(outcome transform.Outcome) string {
	var parts []string
	for reason, calls := range c {
		if r := transform.Reason(reason); calls > 0 && r.Outcome() == outcome {
			parts = append(parts, r.String()+" "+number(calls))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

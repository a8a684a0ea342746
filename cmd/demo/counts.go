package main

import (
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// callCounts holds the number of calls per reason.
type callCounts [transform.Reasons]int64

// of returns the number of calls with the given outcome.
func (c callCounts) of(outcome transform.Outcome) (n int64) {
	for reason, calls := range c {
		if transform.Reason(reason).Outcome() == outcome {
			n += calls
		}
	}
	return n
}

// reasons formats an outcome's nonzero counts by reason, for example "not_track 4,700, tombstone
// 20". It returns "none" if all counts are zero.
func (c callCounts) reasons(outcome transform.Outcome) string {
	var parts []string
	for reason, calls := range c {
		if r := transform.Reason(reason); calls > 0 && r.Outcome() == outcome {
			parts = append(parts, r.String()+" "+preview.Number(calls))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

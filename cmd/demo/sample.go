package main

import (
	"bytes"
	"strconv"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// sample is a Segment call and its LaunchDarkly event.
type sample struct{ call, event []byte }

// sampler picks the first easily readable event. Such an event has a metric value, and its record
// is a single short call in printable ASCII.
type sampler struct {
	gen    *segmenttest.Generator
	picked chan sample // capacity 1, because only one sample is picked
	done   bool        // a sample has been picked
}

// inspect looks for a sample in a request received by LaunchDarkly. It must not be called
// concurrently.
func (s *sampler) inspect(r ldtest.Request) {
	if s.done || !r.Accepted {
		return
	}
	i := -1
	for event := range ldtest.Events(r.Body) {
		i++
		number, err := strconv.ParseInt(r.Identities[i], 10, 64)
		if err != nil || !bytes.Contains(event, []byte(`"metricValue"`)) {
			continue
		}
		n, _ := segmenttest.CallOf(number)
		call, calls := s.gen.Record(n)
		if len(calls) == 1 && call[0] == '{' && len(call) < 1200 && plain(call) {
			s.picked <- sample{bytes.Clone(call), bytes.Clone(event)}
			s.done = true
			return
		}
	}
}

// plain reports whether text is printable ASCII, so that every byte takes one column.
func plain(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

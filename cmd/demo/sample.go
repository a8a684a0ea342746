package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// sample is a Segment call with its LaunchDarkly event, or a rejected call with the reason.
type sample struct {
	call, event []byte
	reason      string
	since       time.Time // when the sample was first shown
}

// sampler picks easily readable samples from the stream. Such a sample's record is a single short
// call in printable ASCII. The sampler picks the next sample after the previous one has been
// received.
type sampler struct {
	gen      *segmenttest.Generator
	events   chan sample // capacity 1
	rejected chan sample // capacity 1
}

func newSampler() *sampler {
	return &sampler{gen: segmenttest.New(seed), events: make(chan sample, 1), rejected: make(chan sample, 1)}
}

// inspect looks for an event in a request received by LaunchDarkly. The event must have a metric
// value. inspect must not be called concurrently.
func (s *sampler) inspect(r ldtest.Request) {
	if len(s.events) > 0 || !r.Accepted {
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
		if call, calls := s.gen.Record(n); len(calls) == 1 && readable(call) {
			s.events <- sample{call: bytes.Clone(call), event: bytes.Clone(event)}
			return
		}
	}
}

// readRejected looks for rejected calls in the dead-letter topic until ctx is done.
func (s *sampler) readRejected(ctx context.Context, client *kgo.Client) {
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if len(s.rejected) == 0 && readable(r.Value) {
				s.rejected <- sample{call: r.Value, reason: reasonOf(r)}
			}
		})
	}
}

// reasonOf describes why a call became a dead letter.
func reasonOf(r *kgo.Record) string {
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	return headers["s2ld.reason"] + ": " + headers["s2ld.detail"]
}

// readable reports whether a record is a single short call in printable ASCII, so that every byte
// takes one column.
func readable(record []byte) bool {
	return bytes.HasPrefix(record, []byte(`{"type"`)) && len(record) < 1200 && json.Valid(record) &&
		!strings.ContainsFunc(string(record), func(r rune) bool { return r < ' ' || r > '~' })
}

package consumer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// formats detects topics whose records are not Segment calls, for instance because the calls are in
// an envelope that the mapping does not unwrap. Such records are filtered, so nothing else would
// draw attention to them. formats outlives sessions and is safe for concurrent use.
type formats struct {
	health *health

	mu     sync.Mutex // guards the field below
	topics map[string]*format
}

// format describes the calls of a topic that this member has mapped since the topic's last event.
type format struct {
	partitions int // owned partitions of the topic
	calls      int
	notCalls   int // calls filtered as not_a_call

	samples  int      // calls filtered as not_a_call whose field names are known
	names    []string // field names that all samples have in common
	reported bool
	resolved time.Time // when the last report was resolved by an event; zero if none was
}

const (
	// unmappedCalls is the number of consecutive calls, none of them an event, after which a topic
	// is reported. The topic is reported only if most of these calls were filtered as not_a_call.
	unmappedCalls = 1000
	// formatSamples is the number of samples to compare. A field name that occurs in all of them is
	// probably not data.
	formatSamples = 2
	// formatQuiet is the time during which a topic is not reported again after an event has
	// resolved a report.
	formatQuiet = time.Minute
	// maxNames is the maximum number of field names that a problem lists.
	maxNames = 8
)

func newFormats(health *health) *formats {
	return &formats{health: health, topics: map[string]*format{}}
}

// acquire adds an owned partition of a topic.
func (f *formats) acquire(topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.topics[topic] == nil {
		f.topics[topic] = &format{}
	}
	f.topics[topic].partitions++
}

// release removes an owned partition of a topic. After the last one, release forgets the topic.
func (f *formats) release(topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.topics[topic].partitions--; f.topics[topic].partitions == 0 {
		delete(f.topics, topic)
		f.health.forget(formatSubject(topic))
	}
}

// add adds a chunk's call counts to those of an owned topic. It reports whether the next chunk must
// provide samples. A chunk provides them even before there is reason to report the topic, because
// there may be no later chunk.
func (f *formats) add(topic string, c *callCounts) (needSamples bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topics[topic]
	if c.anyEvent {
		if t.reported {
			f.health.resolve(formatSubject(topic))
			t.resolved = time.Now()
		}
		*t = format{partitions: t.partitions, resolved: t.resolved}
	}
	t.calls += c.sinceEvent
	t.notCalls += c.notCallsSinceEvent
	for _, names := range c.samples {
		if t.samples == formatSamples {
			break
		}
		if t.samples++; t.samples == 1 {
			t.names = names
		} else {
			t.names = slices.DeleteFunc(t.names, func(name string) bool { return !slices.Contains(names, name) })
		}
	}
	if !t.reported && t.calls >= unmappedCalls && 2*t.notCalls > t.calls && t.samples == formatSamples &&
		time.Since(t.resolved) >= formatQuiet {
		t.reported = true
		f.health.report(formatSubject(topic), t.problem(topic))
	}
	return t.samples < formatSamples
}

// sampleFormat returns the field names of a record's first call that was filtered as not_a_call. It
// returns nil if there is none. calls is the result of mapping the record.
func sampleFormat(transformer *transform.Transformer, r *kgo.Record, calls []transform.Call) []string {
	isForeign := func(c transform.Call) bool { return c.Reason == transform.NotACall }
	if !slices.ContainsFunc(calls, isForeign) {
		return nil
	}
	for _, call := range transformer.Explain(Input(r, false)) {
		if isForeign(call.Call) {
			return append([]string{}, transform.FieldNames(call.Source)...)
		}
	}
	return nil
}

// problem returns the problem of a topic that yields no events.
func (t *format) problem(topic string) problem {
	names := t.names[:min(len(t.names), maxNames)]
	return problem{
		message: "topic yields no events; most of its records are not Segment calls",
		text: fmt.Sprintf("no events in the last 1,000 calls of topic %s; most are not Segment calls; top-level names: %s",
			topic, cmp.Or(strings.Join(names, ", "), "(none in common)")),
		advice: "Run the preview command, and set segment.unwrap to the field that contains the call, or fix kafka.topics.",
		fields: []zap.Field{
			zap.String("topic", topic), zap.Int("calls", t.calls), zap.Int("not_a_call", t.notCalls),
			zap.Strings("top_level_names", names),
		},
	}
}

// formatSubject returns the problem subject for a topic's format.
func formatSubject(topic string) string { return "format of topic " + topic }

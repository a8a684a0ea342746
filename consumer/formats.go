package consumer

import (
	"fmt"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// formats detects topics whose records are not Segment calls, for instance because the calls are in
// an envelope that the mapping does not unwrap. Such records are filtered, so nothing else would
// draw attention to them. formats outlives sessions and is safe for concurrent use.
type formats struct {
	health *health

	mu     sync.Mutex // guards the field below
	topics map[string]*format
}

// format counts the Segment calls that this member has mapped from a topic since the topic's last
// event.
type format struct {
	partitions int // owned partitions of the topic
	calls      int
	notCalls   int // calls filtered as not_a_call
	reported   bool
}

// unmappedCalls is the number of consecutive calls, none of them an event, after which a topic is
// reported. The topic is reported only if most of these calls were filtered as not_a_call.
const unmappedCalls = 1000

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

// add adds a chunk's call counts to those of an owned topic.
func (f *formats) add(topic string, c *callCounts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topics[topic]
	if c.anyEvent {
		if t.reported {
			f.health.resolve(formatSubject(topic))
		}
		t.calls, t.notCalls, t.reported = 0, 0, false
	}
	t.calls += c.sinceEvent
	t.notCalls += c.notCallsSinceEvent
	if t.reported || t.calls < unmappedCalls || 2*t.notCalls <= t.calls || c.notACall == nil {
		return
	}
	t.reported = true
	names := strings.Join(c.notACall, ", ")
	f.health.report(formatSubject(topic), problem{
		message: "topic yields no events; most of its records are not Segment calls",
		text: fmt.Sprintf("no events in the last 1,000 calls of topic %s; most are not Segment calls; "+
			"top-level names: %s. Set segment.unwrap to the field that contains the call, or fix kafka.topics", topic, names),
		fields: []zap.Field{
			zap.String("topic", topic), zap.Int("calls", t.calls), zap.Int("not_a_call", t.notCalls),
			zap.Strings("top_level_names", c.notACall),
		},
	})
}

// formatSubject returns the problem subject for a topic's format.
func formatSubject(topic string) string { return "format of topic " + topic }

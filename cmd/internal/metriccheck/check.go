package metriccheck

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/coerce"
)

// Bounds of a Check's size.
const (
	maxNames = 10_000 // names of events that no metric counts
	maxPaths = 100    // paths of numbers, and also names of properties, per event name
	maxDepth = 3      // names in the path of a number or a nested property, without "properties"
)

// Check compares metrics with events. It is not safe for concurrent use.
type Check struct {
	metrics []ldapi.Metric // by event key and key
	mapping transform.Config
	events  map[string]*events // by name; has an entry for each metric
	others  map[string]int     // other events by name
	numbers *coerce.Reader
}

// events summarizes the events with one metric's event key.
type events struct {
	seen       int
	values     int                    // events with a metric value
	kinds      map[string]int         // events by context kind
	numbers    map[string]int         // events without a metric value, by the path of each number in the call
	names      map[string]int         // events by the name of each top-level property
	properties map[string]*property   // properties that metrics filter on, by name
	reasons    [transform.Reasons]int // calls that do not become events, by reason
}

// New returns a Check of metrics for the events that a mapping with the given configuration
// produces.
func New(metrics []ldapi.Metric, mapping transform.Config) *Check {
	c := &Check{
		metrics: slices.Clone(metrics), mapping: mapping, events: map[string]*events{}, others: map[string]int{},
		numbers: coerce.NewReader(func(raw []byte) []byte { return []byte(text(raw)) }),
	}
	slices.SortFunc(c.metrics, func(a, b ldapi.Metric) int {
		return cmp.Or(cmp.Compare(a.EventKey, b.EventKey), cmp.Compare(a.Key, b.Key))
	})
	for _, m := range metrics {
		e := c.events[m.EventKey]
		if e == nil {
			e = &events{
				kinds: map[string]int{}, numbers: map[string]int{}, names: map[string]int{}, properties: map[string]*property{},
			}
			c.events[m.EventKey] = e
		}
		for _, f := range m.Filters {
			if f.Type == ldapi.EventProperty && e.properties[f.Attribute] == nil {
				e.properties[f.Attribute] = &property{}
			}
		}
	}
	return c
}

// object is a JSON object.
type object = map[string]json.RawMessage

// Add counts a call.
func (c *Check) Add(call transform.Explained) {
	switch {
	case call.Event != nil:
		c.addEvent(call)
	case call.Source != nil && call.Reason != transform.NotACall && call.Reason != transform.NotTrack:
		if e := c.events[eventName(members(call.Source)["event"])]; e != nil {
			e.reasons[call.Reason]++
		}
	}
}

func (c *Check) addEvent(call transform.Explained) {
	var event struct {
		Key         string `json:"key"`
		ContextKeys object `json:"contextKeys"`
		Data        object `json:"data"`
	}
	_ = json.Unmarshal(call.Event, &event) // an event is valid JSON with these types
	e := c.events[event.Key]
	if e == nil {
		increment(c.others, event.Key, maxNames)
		return
	}
	e.seen++
	if event.ContextKeys == nil {
		e.kinds["user"]++ // a userKey
	}
	for kind := range event.ContextKeys {
		e.kinds[kind]++
	}
	properties := members(call.Source)["properties"]
	if call.HasMetricValue {
		e.values++
	} else {
		c.addNumbers(e.numbers, "properties", properties, 1)
	}
	if len(e.properties) == 0 {
		return
	}
	for name := range event.Data {
		increment(e.names, name, maxPaths)
	}
	for name, p := range e.properties {
		p.add(name, event.Data, properties)
	}
}

// addNumbers counts the paths of the numbers in an object. depth is the number of names in the
// paths of the object's members.
func (c *Check) addNumbers(paths map[string]int, path string, value json.RawMessage, depth int) {
	for name, member := range members(value) {
		at := path + "." + name
		switch {
		case name == "", strings.Contains(name, "."): // cannot be part of a path
		case c.numbers.Number(member) != nil:
			increment(paths, at, maxPaths)
		case depth < maxDepth:
			c.addNumbers(paths, at, member, depth+1)
		}
	}
}

// increment increments a count. It adds a new count only if there are fewer than limit.
func increment(counts map[string]int, name string, limit int) {
	if counts[name] > 0 || len(counts) < limit {
		counts[name]++
	}
}

// members returns the members of an object, or nil if value is not an object.
func members(value json.RawMessage) (o object) {
	if len(value) == 0 || json.Unmarshal(value, &o) != nil {
		return nil
	}
	return o
}

// text returns the content of a JSON string, or "" if raw is not a string.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// eventName returns the name in the member event of a call. A number is a name too.
func eventName(raw json.RawMessage) string {
	if number := json.Number(""); json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return text(raw)
}

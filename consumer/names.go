package consumer

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// eventNames counts events by name for display, in bounded memory. It outlives sessions and is safe
// for concurrent use.
type eventNames struct {
	mu     sync.Mutex // guards the field below
	counts nameCounts
}

// nameCounts counts events by name. The names are JSON strings.
type nameCounts map[string]*nameCount

type nameCount struct {
	plain             string // see countedName
	events, withValue int64  // in the current chunk, or in total
	inBatch           int64  // events of the open batch
}

// keptNames is the maximum number of names counted. If there are more, only the keptNames/2 most
// frequent names are kept. The counts of rare names can therefore be too low.
const keptNames = 1000

// Names longer than maxNameBytes are counted as longName.
const (
	maxNameBytes = 256
	longName     = `"(names longer than 256 bytes)"`
)

// get returns the count of a name, which it adds if necessary.
func (c nameCounts) get(name string) *nameCount {
	n := c[name]
	if n == nil {
		n = &nameCount{plain: countedName(name)}
		c[name] = n
	}
	return n
}

// count counts the events rendered from one record. calls is the result of mapping the record, and
// body ends with the record's events. length is the length of body before these events. For each
// event, count appends the count of its name to counted, and returns the result.
func (c nameCounts) count(calls []transform.Call, body []byte, length int, counted []*nameCount) []*nameCount {
	for i := range calls {
		call := &calls[i]
		if call.Reason == transform.None {
			name := transform.EventName(body[length:call.End])
			n := c[string(name)]
			if n == nil {
				if len(name) > maxNameBytes {
					name = []byte(longName)
				}
				n = c.get(string(name))
			}
			n.events++
			if call.HasMetricValue {
				n.withValue++
			}
			counted = append(counted, n)
		}
		length = call.End
	}
	return counted
}

// add adds and resets the given counts, except those of the open batch.
func (e *eventNames) add(c nameCounts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, n := range c {
		if n.events == 0 {
			if n.inBatch == 0 { // neither in this chunk nor in the open batch
				delete(c, name)
			}
			continue
		}
		total := e.counts.get(name)
		total.events += n.events
		total.withValue += n.withValue
		n.events, n.withValue = 0, 0
	}
	if len(e.counts) > keptNames {
		for _, rare := range e.counts.sorted()[keptNames/2:] {
			delete(e.counts, rare.Name)
		}
	}
}

// EventName is an event name with its counts since the consumer was created. If there are more than
// a thousand names, only the most frequent ones are kept, and their counts can be too low.
type EventName struct {
	Name      string
	Events    int64
	WithValue int64 // events that have a metric value
}

// EventNames returns the counts of the n most frequent event names, in descending order. It returns
// nil unless Config.CountNames is set.
func (c *Consumer) EventNames(n int) []EventName {
	if !c.cfg.CountNames {
		return nil
	}
	c.names.mu.Lock()
	defer c.names.mu.Unlock()
	all := c.names.counts.sorted()
	all = all[:min(n, len(all))]
	for i := range all {
		all[i].Name = plainName(all[i].Name)
	}
	return all
}

// plainName returns the value of a JSON string. It returns "" if the argument is not a JSON string.
func plainName(quoted string) (name string) {
	if len(quoted) > 1 && strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	_ = json.Unmarshal([]byte(quoted), &name) // fails only if a redriven event has no name
	return name
}

// sorted returns the counts in descending order. The names are JSON strings.
func (c nameCounts) sorted() []EventName {
	all := make([]EventName, 0, len(c))
	for name, n := range c {
		all = append(all, EventName{name, n.events, n.withValue})
	}
	slices.SortFunc(all, func(a, b EventName) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Name, b.Name))
	})
	return all
}

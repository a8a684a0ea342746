package consumer

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const (
	// DeliveredMetric is the name of the metric for Config.DeliveredNames. Its label event contains the
	// event name.
	DeliveredMetric = prefix + "events_delivered_total"
	// MaxDeliveredNames is the maximum length of Config.DeliveredNames.
	MaxDeliveredNames = 200
	// DeliveredFor is the retention of an hour's deliveries.
	DeliveredFor = 7 * 24 * time.Hour

	// frequentNames is the number of names kept per hour if Config.DeliveredNames does not list the
	// names.
	frequentNames = 100
)

// DeliveredHour counts the events delivered within an hour.
type DeliveredHour struct {
	Hour   time.Time        `json:"hour"`   // start of the hour, UTC
	Events map[string]int64 `json:"events"` // by name
	Other  int64            `json:"other"`  // events whose names are not in Events

	// Trimmed is true if Other can also contain events whose names are in Events, because there were
	// too many names.
	Trimmed bool `json:"trimmed,omitempty"`
}

// delivered counts delivered events by name and by the hour of their delivery, in bounded memory.
// It outlives sessions and is safe for concurrent use. A nil *delivered counts nothing.
//
// Intake counts the events of each batch, and the batch carries the counts until it is delivered.
// Events rejected by LaunchDarkly do not count. The next owner counts the batches left for it. If a
// session ends before a delivered batch is committed, the batch is delivered and counted again,
// although LaunchDarkly counts it once.
type delivered struct {
	counters map[string]prometheus.Counter // of the only names to count; nil means the most frequent names

	mu    sync.Mutex // guards the field below
	hours []DeliveredHour
}

// newDelivered returns an empty delivered, and registers the metric if cfg enables it.
func newDelivered(cfg *Config) *delivered {
	d := &delivered{}
	if !cfg.metersNames() {
		return d
	}
	vector := promauto.With(cfg.Registry).NewCounterVec(prometheus.CounterOpts{Name: DeliveredMetric,
		Help: "Delivered events, by name. Exists only if segment.events lists 1 to 200 names."}, []string{labelEvent})
	d.counters = make(map[string]prometheus.Counter, len(cfg.DeliveredNames))
	for _, name := range cfg.DeliveredNames {
		d.counters[name] = vector.WithLabelValues(name)
	}
	return d
}

// metersNames reports whether delivered events are counted by name in a metric.
func (c *Config) metersNames() bool {
	return len(c.DeliveredNames) > 0 && len(c.DeliveredNames) <= MaxDeliveredNames
}

// batchNames counts a batch's events by name.
type batchNames []batchName

type batchName struct {
	name   string // plain, or "" if the name is too long or missing
	events int64
}

// batchNameBytes is the size of a batchName without its name.
const batchNameBytes = 24

// bytes returns the memory used, in bytes.
func (names batchNames) bytes() (n int) {
	for i := range names {
		n += batchNameBytes + len(names[i].name)
	}
	return n
}

// takeBatch returns and resets the counts of the open batch.
func (c nameCounts) takeBatch() (names batchNames) {
	for _, n := range c {
		if n.inBatch > 0 {
			names = append(names, batchName{n.plain, n.inBatch})
			n.inBatch = 0
		}
	}
	return names
}

// countedName returns the value of a name, which is a JSON string, or "" if the name is too long.
func countedName(quoted string) string {
	if len(quoted) > maxNameBytes || quoted == longName {
		return ""
	}
	return plainName(quoted)
}

// reject removes an event rejected by LaunchDarkly from its batch's counts.
func (d *delivered) reject(b *batch, event []byte) {
	if d == nil {
		return
	}
	name := countedName(string(transform.EventName(event)))
	d.mu.Lock() // several events of a batch can be rejected concurrently
	defer d.mu.Unlock()
	for i := range b.names {
		if n := &b.names[i]; n.name == name && n.events > 0 {
			n.events--
			return
		}
	}
}

// add adds the events of a delivered batch to the current hour.
func (d *delivered) add(b *batch) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.current()
	for _, n := range b.names {
		counter := d.counters[n.name]
		switch {
		case n.events == 0: // all rejected by LaunchDarkly
		case n.name == "" || d.counters != nil && counter == nil:
			h.Other += n.events
		default:
			h.Events[n.name] += n.events
			if counter != nil {
				counter.Add(float64(n.events))
			}
		}
	}
	if len(h.Events) > keptNames {
		h.keep(keptNames / 2)
		h.Trimmed = true
	}
	b.names = nil
}

// current returns the current hour, which it adds if necessary. It never returns an earlier hour
// than before, even if the clock is set back. The caller must hold mu.
func (d *delivered) current() *DeliveredHour {
	hour := time.Now().UTC().Truncate(time.Hour)
	if n := len(d.hours); n > 0 {
		if !d.hours[n-1].Hour.Before(hour) {
			return &d.hours[n-1]
		}
		d.hours[n-1].keep(d.limit())
	}
	d.expire(hour)
	d.hours = append(d.hours, DeliveredHour{Hour: hour, Events: map[string]int64{}})
	return &d.hours[len(d.hours)-1]
}

// expire drops the hours that began more than DeliveredFor before hour. The caller must hold mu.
func (d *delivered) expire(hour time.Time) {
	d.hours = slices.DeleteFunc(d.hours, func(h DeliveredHour) bool { return h.Hour.Before(hour.Add(-DeliveredFor)) })
}

// limit returns the maximum number of names to keep for a complete hour.
func (d *delivered) limit() int { return max(frequentNames, len(d.counters)) }

// keep keeps the n most frequent names, and moves the events of all others to Other.
func (h *DeliveredHour) keep(n int) {
	if len(h.Events) <= n {
		return
	}
	names := slices.SortedFunc(maps.Keys(h.Events), func(a, b string) int {
		return cmp.Or(cmp.Compare(h.Events[b], h.Events[a]), cmp.Compare(a, b))
	})
	kept := make(map[string]int64, n)
	for i, name := range names {
		if i < n {
			kept[name] = h.Events[name]
		} else {
			h.Other += h.Events[name]
		}
	}
	h.Events = kept
}

// Delivered returns the events delivered in the current hour and in each hour within [DeliveredFor]
// before, in order. Hours without deliveries are omitted. The caller must not modify the maps.
// Delivered returns nil unless Config.CountNames is set.
func (c *Consumer) Delivered() []DeliveredHour {
	if !c.cfg.CountNames {
		return nil
	}
	d := c.delivered
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(time.Now().UTC().Truncate(time.Hour))
	hours := slices.Clone(d.hours)
	if n := len(hours); n > 0 { // the last hour can still change
		last := &hours[n-1]
		last.Events = maps.Clone(last.Events)
		last.keep(d.limit())
	}
	return hours
}

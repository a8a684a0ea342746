package verify

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Verdict is the result of comparing the totals of an event key.
type Verdict string

const (
	OK         Verdict = "ok"
	NotCounted Verdict = "DIFFERS: LaunchDarkly counted none"
	Fewer      Verdict = "DIFFERS: LaunchDarkly counted fewer"
	More       Verdict = "DIFFERS: LaunchDarkly counted more"

	// Unclear means that the replicas did not count the key by name in every hour.
	Unclear   Verdict = "unclear: deliveries can be among the other names"
	NotOurs   Verdict = "not delivered by this group"
	NotByName Verdict = "not compared by key"
)

// Differs reports whether the totals differ by more than the tolerance.
func (v Verdict) Differs() bool { return v == NotCounted || v == Fewer || v == More }

// Row contains the totals of an event key.
type Row struct {
	Key                string // [OtherKey] for the events that the replicas did not count by name
	Delivered, Counted int64
	Verdict            Verdict

	ours    bool  // whether events with this key are known to be delivered
	unknown int64 // events counted as other that can have this key
}

// OtherKey is the key of the row for events that the replicas did not count by name. Its Counted is
// the total of all keys with the verdict NotOurs.
const OtherKey = "(other names)"

// Compare compares the events delivered with the events counted by LaunchDarkly in the given hours.
// counted contains events by key and start of the hour. selected lists the only names that the group
// delivers, if known. The rows that differ come first, then those with the most deliveries.
func Compare(hours []time.Time, d Deliveries, counted map[string]map[time.Time]int64, selected []string) []Row {
	compared := map[int64]bool{}
	for _, hour := range hours {
		compared[hour.Unix()] = true
	}
	rows := map[string]*Row{}
	row := func(key string) *Row {
		if rows[key] == nil {
			rows[key] = &Row{Key: key}
		}
		return rows[key]
	}
	for _, key := range selected {
		row(key).ours = true
	}
	other := Row{Key: OtherKey, ours: true}
	for _, h := range d.Hours {
		if compared[h.Hour.Unix()] {
			other.Delivered += h.Other
			for key, n := range h.Events {
				row(key).Delivered += n
				row(key).ours = true
			}
		}
	}
	for key, byHour := range counted {
		for hour, n := range byHour {
			if n != 0 && compared[hour.Unix()] {
				row(key).Counted += n
			}
		}
	}
	for _, h := range d.Hours {
		for key, r := range rows {
			if _, named := h.Events[key]; (!named || h.Trimmed) && compared[h.Hour.Unix()] {
				r.unknown += h.Other
			}
		}
	}
	excess := int64(0) // events counted beyond the deliveries by name
	for _, r := range rows {
		r.judge()
		excess += max(0, r.Counted-r.Delivered)
		if r.Verdict == NotOurs {
			other.Counted += r.Counted
		}
	}
	result := make([]Row, 0, len(rows)+1)
	for r := range maps.Values(rows) {
		result = append(result, *r)
	}
	if other.Delivered > 0 {
		other.Verdict = NotByName
		if excess < other.Delivered && exceeds(other.Delivered, excess-other.Delivered) {
			other.Verdict = Fewer
		}
		result = append(result, other)
	}
	slices.SortFunc(result, func(a, b Row) int {
		return cmp.Or(first(a.Verdict.Differs(), b.Verdict.Differs()), cmp.Compare(b.Delivered, a.Delivered),
			cmp.Compare(b.Counted, a.Counted), cmp.Compare(a.Key, b.Key))
	})
	return result
}

// first orders true before false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// judge sets the verdict.
func (r *Row) judge() {
	difference := r.Counted - r.Delivered
	switch {
	case !r.ours:
		r.Verdict = NotOurs
	case !exceeds(r.Delivered, difference):
		r.Verdict = OK
	case r.Counted == 0:
		r.Verdict = NotCounted
	case difference < 0:
		r.Verdict = Fewer
	case !exceeds(r.Delivered+r.unknown, max(0, difference-r.unknown)):
		r.Verdict = Unclear
	default:
		r.Verdict = More
	}
}

// exceeds reports whether a difference is larger than 0.5% of the delivered events plus ten events.
func exceeds(delivered, difference int64) bool {
	return 200*max(difference, -difference) > delivered+2000
}

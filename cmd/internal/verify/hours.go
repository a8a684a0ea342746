package verify

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// Settled is the time after an hour until LaunchDarkly's counts of the hour are compared.
const Settled = 2 * time.Hour

// Hours returns the starts of the whole hours between two times, in order, except those that ended
// less than [Settled] before now.
func Hours(from, to, now time.Time) (hours []time.Time) {
	if settled := now.Add(-Settled); to.After(settled) {
		to = settled
	}
	for hour := ceil(from); !hour.Add(time.Hour).After(to); hour = hour.Add(time.Hour) {
		hours = append(hours, hour)
	}
	return hours
}

// ceil returns the first start of an hour at or after t.
func ceil(t time.Time) time.Time {
	hour := t.UTC().Truncate(time.Hour)
	if hour.Before(t) {
		hour = hour.Add(time.Hour)
	}
	return hour
}

// Deliveries contains the events that the replicas of a group delivered.
type Deliveries struct {
	Hours []consumer.DeliveredHour // in any order; an hour can occur several times
	// Incomplete gives the reasons why deliveries are missing from hours, by the start of the hour.
	Incomplete map[time.Time]string
}

// incomplete records that deliveries are missing from an hour. The first reason is kept.
func (d *Deliveries) incomplete(hour time.Time, reason string) {
	if d.Incomplete == nil {
		d.Incomplete = map[time.Time]string{}
	}
	if d.Incomplete[hour] == "" {
		d.Incomplete[hour] = reason
	}
}

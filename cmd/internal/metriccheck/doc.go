// Package metriccheck compares LaunchDarkly's metrics with the events of a topic, and finds the
// metrics that would not count their events.
//
// [New] receives the metrics, [Check.Add] counts the calls, and [Check.Results] describes each
// metric. A Check keeps the names of events and properties and the paths of numbers, all of them
// bounded, but no values and no user keys.
package metriccheck

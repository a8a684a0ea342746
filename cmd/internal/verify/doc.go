// Package verify compares the events that the replicas of a group delivered with those that
// LaunchDarkly counted, by event key.
//
//  1. Only whole hours are compared, in UTC. [Hours] selects them.
//  2. The deliveries come from each replica's /delivered.json ([Replicas]) or from Prometheus
//     ([Prometheus]). Hours that these sources do not cover completely are reported with the reason,
//     so that the caller can leave them out.
//  3. [Compare] judges each event key by its totals over the compared hours.
//
// No source contains event contents other than event names.
package verify

// Package chaos runs the built program as processes against a Kafka cluster and a fake LaunchDarkly, kills, stops and
// starves them by a seeded schedule, and checks afterwards that no invariant broke.
//
//	binary, err := chaos.Build(ctx, dir, nil)
//	plan := chaos.NewPlan(seed, 2*time.Minute, chaos.Limits{Brokers: 3, Session: 3 * time.Second})
//	report, err := chaos.Run(ctx, chaos.Config{Binary: binary, Cluster: chaos.Apache{Apache: cluster}, Plan: plan, ...})
//
// # What happens
//
// A producer numbers every record and has each acknowledged. Members join, leave by SIGTERM, are killed by SIGKILL, or are
// stopped by SIGSTOP for longer than the session timeout and continued: about half of these in calm, when LaunchDarkly takes
// everything, and the others under fire, while it fails. Brokers are killed and restarted, the coordinator's among them;
// leaders move. LaunchDarkly fails in every way of [ldtest.Passing], before and after it took the request, and refuses the
// program by 302 and 401, all for a while; it refuses poisoned events by 400 and bodies above a size by 413.
//
// # What is checked
//
// [Evidence.Check] reads what was produced, what LaunchDarkly saw, what was committed, and what is in the dead-letter topic.
// It knows nothing of the members. It asserts, for each record and each request:
//
//  1. Nothing is missing, and nothing counts twice after deduplication by payload ID.
//  2. One payload ID never carries two bodies, requests that were refused or cut off included.
//  3. No commit passes a record that is neither delivered nor in the dead-letter topic at that time; what is committed
//     never goes down; in the end it is the end of the log.
//  4. No request reaches LaunchDarkly before a commit recorded its range: its events are exactly those between two offsets
//     that are neighbours in one commit, or a half of them, or a half of that, as a refused batch is split.
//  5. A cut that ends a range with events stays in the commits until the committed offset has passed it.
//  6. The dead-letter topic holds what can never be delivered, with its reason, and nothing else.
//  7. No event waits longer than a minute for its delivery; 20 seconds on a schedule of only clean joins and leaves.
//  8. After a member is gone in calm, each partition is delivered from again within the session timeout and two seconds. This
//     is judged only while the brokers are up and quick, and if all members were in the group, which had kept up and was not
//     rebalancing already.
//  9. On a schedule of only clean joins and leaves nothing is sent twice, even before deduplication, but what was refused.
//
// [Run] adds what it sees of the processes: that none ends by itself, exit codes, memory, and how long they take to leave. A
// member that is told to leave exits with 0; with 1 if it could not deliver or commit everything, which is right only around
// a broker's absence or after the member stood still, and is counted.
//
// # Times
//
// Commits of Apache Kafka are read from the log of __consumer_offsets, which holds each of them with the time at which
// the coordinator appended it; those of the embedded broker from the log that it keeps of its groups. So every commit is
// checked, beside samples of what a new member would read. The brokers, the fake and the members have one clock, since all
// are on one machine; times are compared in whole milliseconds, as the logs have them.
//
// The package needs Linux: it reads /proc, and its processes die with it.
package chaos

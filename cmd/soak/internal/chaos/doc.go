// Package chaos tests the built program under faults. It runs the program as processes against a
// Kafka cluster and a fake LaunchDarkly, and disrupts processes, brokers, the network, topics, and
// offsets on a seeded schedule. Afterwards it checks that every invariant held.
//
//	binary, err := chaos.Build(ctx, dir, nil)
//	limits := chaos.Limits{Topics: true, Brokers: 3, Session: 3 * time.Second}
//	plan := chaos.NewPlan(seed, 4*time.Minute, limits)
//	report, err := chaos.Run(ctx, chaos.Config{Binary: binary, Cluster: cluster, Plan: plan, ...})
//
// # Faults
//
// A producer numbers every record and waits for its acknowledgment. Meanwhile:
//
//   - Members join, leave on SIGTERM, are killed with SIGKILL, or are frozen with SIGSTOP for
//     longer than the session timeout. About half of the kills and freezes happen in calm, while
//     LaunchDarkly accepts everything; the others happen under fire, while it fails. Some members
//     are static. Static members are also bounced, and compete with a second member that has the
//     same instance ID.
//   - Brokers are killed and restarted, including the coordinator's. Leaders move.
//   - Connections between a member and a server are reset, blocked in one or both directions, or
//     slowed down. An offset commit can arrive late: its connection breaks, and the broker receives
//     the commit 1 to 15 seconds later.
//   - LaunchDarkly fails with each fault of [ldtest.TransientFaults], before and after accepting
//     the request, and responds with 302 and 401. It rejects poisoned events with 400, and bodies
//     above a certain size with 413.
//   - Partitions are added to the main topic, and delivered and committed records are deleted from
//     it.
//   - Separate topics have undelivered records deleted, a lagging replica elected as leader, the
//     topic deleted and recreated, and their committed offsets set by an operator.
//
// Members reach brokers and LaunchDarkly only through proxies in this process, one per member and
// server. The proxies replace the brokers' addresses in Kafka responses, so the cluster needs no
// special configuration.
//
// # Checks
//
// [Evidence.Check] reads everything that was produced to one log, the requests that LaunchDarkly
// received for it, the commits, and the dead-letter topic. It shares no code with the program. It
// asserts, for each record and each request:
//
//  1. Nothing is missing, and nothing counts twice after deduplication by payload ID.
//  2. One payload ID never has two bodies, including rejected and broken requests.
//  3. No commit passes a record that is neither delivered nor in the dead-letter topic at that
//     time. The committed offset never decreases. At the end it is the end offset.
//  4. No request reaches LaunchDarkly before a commit has recorded its range. Its events are
//     exactly those between two neighboring offsets of one commit, or a half of those, or a half of
//     that half, because a rejected batch is split.
//  5. A cut that ends a range with events stays in the commits until the committed offset has
//     passed it.
//  6. The dead-letter topic contains exactly the records that can never be delivered, with their
//     reasons.
//  7. No event waits longer than two minutes for its delivery, or 20 seconds if the plan has only
//     clean joins and leaves.
//  8. After a member has disappeared in calm, requests with events from each partition are sent
//     again within the session timeout plus two seconds. This is judged only while the brokers are
//     up and fast, and only if all members were in the group, had caught up, and were not
//     rebalancing.
//  9. If the plan has only clean joins and leaves, nothing is sent twice, even before
//     deduplication, except for rejected batches.
//
// Each topic, and each incarnation of a topic, is a separate log. All of the above applies to the
// main topic. For the other topics, only the provoked effects are allowed:
//
//   - A record that Kafka lost or deleted may be missing. A record that Kafka kept may count more
//     than once only if all but one of the requests that count it belong to recorded ranges from
//     which Kafka lost a record, because such a range can never be formed again.
//   - After a lagging replica was elected, the committed offset of that partition may decrease
//     once, but not below the first offset whose record was lost, and cuts beyond that offset may
//     be forgotten once. The lost records are determined from the log that survived.
//   - After an operator has set the offsets, every record at or after those offsets is delivered
//     again exactly once. Nothing before those offsets is delivered. An offset beyond the end offset
//     counts as no offset, so that start_at decides. Events that LaunchDarkly deduplicates by a
//     payload ID from before the change count as delivered.
//
// [Run] also checks the processes. None of them may exit unexpectedly, and it checks their exit
// codes, their memory, and the time they take to leave. A member that is told to leave exits with
// code 0. Exit code 1 means that it could not deliver or commit everything. That is allowed around
// a broker's absence, after a fault of its network, after it was frozen, or with a backlog, and is
// counted. Of two members with the same instance ID, the coordinator must fence one, and that one
// may exit.
//
// Every commit and request is also replayed in chronological order through [model.Observer], which
// also judges the schedule search of package consumer. The model must allow each observed step.
// Partitions with deleted undelivered records are skipped, because the model has no retention.
//
// # Times
//
// With Apache Kafka, commits are read from the log of __consumer_offsets, which holds each commit
// with the time at which the coordinator appended it. With the embedded broker, they are read from
// its log of groups. Every commit is therefore checked, in addition to samples of the offsets that
// a new member would read. The brokers, the fake, and the members share one clock, because they run
// on one machine. Times are compared in whole milliseconds, which is the resolution of the logs.
//
// The package requires Linux: it reads /proc, and its child processes exit with it.
package chaos

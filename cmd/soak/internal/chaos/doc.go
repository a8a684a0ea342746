// Package chaos tests the built program under faults. It runs several instances of the program,
// called members, against a Kafka cluster and a fake LaunchDarkly. Meanwhile, it disrupts
// processes, brokers, the network, topics, and offsets on a seeded schedule. At the end, it checks
// that every invariant held.
//
//	binary, err := chaos.Build(ctx, dir, nil)
//	limits := chaos.Limits{Topics: true, Brokers: 3, Session: 3 * time.Second}
//	plan := chaos.NewPlan(seed, 4*time.Minute, limits)
//	report, err := chaos.Run(ctx, chaos.Config{Binary: binary, Cluster: cluster, Plan: plan, ...})
//
// # Faults
//
// While a producer sends numbered records and keeps track of acknowledgments, the following faults
// occur:
//
//   - Members join, leave on SIGTERM, are killed with SIGKILL, or are frozen with SIGSTOP for
//     longer than the session timeout. About half of the kills and freezes happen in calm, with
//     random LaunchDarkly faults and late commits paused. The rest happen under fire, without that
//     pause. Some members are static. Static members are also stopped and immediately restarted,
//     and compete with a second member that uses the same instance ID.
//   - Brokers are killed and restarted, including the group coordinator. Partition leaders move.
//   - Connections between a member and a server are reset, blocked in one or both directions, or
//     slowed down. An offset commit can arrive late: the member's connection is reset, and the
//     broker receives the commit 1 to 15 seconds later.
//   - The fake LaunchDarkly injects every fault in [ldtest.TransientFaults], before and after
//     accepting the request, and responds with 302 and 401. It rejects oversized bodies with 413,
//     and bodies that contain a specially marked (poisoned) event with 400.
//   - Partitions are added to the main topic, and records already committed are deleted from it.
//   - Each of the following faults has its own topic: deletion of undelivered records, election of a
//     lagging replica as leader, deletion and recreation of the topic, and an offset reset by an
//     operator.
//
// Members reach brokers and LaunchDarkly only through proxies in this process, one for each pair of
// member and server. The proxies rewrite broker addresses in Kafka responses, so the cluster needs
// no special configuration.
//
// # Checks
//
// [Evidence.Check] examines one log's produced records, commits, and dead letters, and the requests
// that LaunchDarkly received. It shares no code with the program. It asserts the following for every
// record and request:
//
//  1. No event is missing, and none counts twice after deduplication by payload ID.
//  2. A payload ID never has two different bodies, even if requests fail or are rejected.
//  3. No commit passes a record that is not yet delivered, filtered, or in the dead-letter topic.
//     The committed offset never decreases and finally equals the end offset.
//  4. No request reaches LaunchDarkly before a commit has recorded the request's offset range. The
//     commit records the end of the range as a cut. The request contains all events in the
//     range. If LaunchDarkly has rejected the batch, the request contains the events of a half of
//     the range, of a quarter, and so on.
//  5. A cut stays in every commit until the committed offset reaches it, unless the cut ends a
//     range without events.
//  6. The dead-letter topic contains exactly the undeliverable records, each with the correct
//     reason.
//  7. Every event is delivered within two minutes, or within 20 seconds if the plan has only clean
//     joins and leaves.
//  8. After a member disappears in calm, requests with events from every partition arrive again
//     within the session timeout plus two seconds. A takeover is judged only if the brokers were up
//     and fast, and the group was complete, stable, and caught up.
//  9. If the plan has only clean joins and leaves, no request or dead letter is sent twice, except
//     for rejected requests.
//
// Each topic, and each incarnation of a recreated topic, is a separate log. All of these rules
// apply to the main topic. The other topics may break them only as follows:
//
//   - A record lost or deleted by Kafka may be missing. A range that lost a record can never be
//     formed again, so its remaining records are sent in another request and may count again. If
//     a record counts in several requests, at most one of them may be for an intact range.
//   - After a lagging replica is elected, the partition's committed offset may decrease once, but
//     not below the first lost record. One commit may omit cuts beyond that record. The lost
//     records are determined from the surviving log.
//   - After an operator resets the offsets, every record at or after the new offsets is delivered
//     again exactly once, and no earlier record is delivered. An offset beyond the end offset is
//     invalid, so start_at applies. An event counts as delivered even if LaunchDarkly ignores its
//     request as a duplicate of a request accepted before the reset.
//
// [Run] also checks the members' exit codes, memory, and time to leave. No member may exit
// unexpectedly. A member told to leave exits with code 0, or with code 1 if it cannot deliver or
// commit everything. [Run] counts exits with code 1 and allows them only with a backlog, or during
// or soon after a broker outage, network fault, or freeze. If two members have the same instance
// ID, the coordinator must fence one of them, which may then exit.
//
// All commits and requests are also replayed in chronological order through [model.Observer], and
// the model must allow every step. The schedule search in the tests of package consumer uses the
// same model. A partition is skipped if undelivered records were deleted from it, because the model
// does not support retention.
//
// # Times
//
// With Apache Kafka, commits are read from __consumer_offsets, which stores every commit with its
// append time. With the embedded broker, commits are read from the broker's groups.log. The checks
// therefore cover every commit, in addition to samples of the committed offsets. The brokers, the
// fake LaunchDarkly, and the members run on one machine and share its clock. Times are compared in
// whole milliseconds, the resolution of the logs.
//
// The package requires Linux, because it reads /proc and relies on the kernel to kill child
// processes when the parent exits.
package chaos

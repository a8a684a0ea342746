// Package chaos runs the built program as processes against a Kafka cluster and a fake
// LaunchDarkly, disturbs processes, brokers, the network, topics, and offsets by a seeded schedule,
// and then checks that no invariant broke.
//
//	binary, err := chaos.Build(ctx, dir, nil)
//	plan := chaos.NewPlan(seed, 4*time.Minute, chaos.Limits{Topics: true, Brokers: 3, Session: 3 * time.Second})
//	report, err := chaos.Run(ctx, chaos.Config{Binary: binary, Cluster: chaos.Apache{Apache: cluster}, Plan: plan, ...})
//
// # Faults
//
// A producer numbers every record and waits for its acknowledgement. Meanwhile:
//
//   - Members join, leave by SIGTERM, are killed by SIGKILL, or are stopped by SIGSTOP for longer
//     than the session timeout. About half of the latter two happen in calm, when LaunchDarkly
//     accepts everything, and the others under fire, while it fails. Some members are static: they
//     are also bounced, and meet a second member with their instance ID.
//   - Brokers are killed and restarted, the coordinator's among them. Leaders move.
//   - The network between a member and the servers resets connections, carries nothing in one or
//     both directions, or is slow. An offset commit can arrive late: its connection breaks, and the
//     broker gets the commit 1 to 15 seconds later.
//   - LaunchDarkly fails in every way of [ldtest.TransientFaults], before and after it accepted the
//     request, and responds with 302 and 401. It rejects poisoned events with 400 and bodies above
//     a size with 413.
//   - Partitions are added to the main topic, and records that are delivered and committed are
//     deleted from it.
//   - Topics of their own have records deleted that were not delivered, a lagging replica elected
//     as the leader, their topic deleted and created again, and their committed offsets set by an
//     operator.
//
// Members reach brokers and LaunchDarkly only through proxies of this process, one per member and
// server. They replace the brokers' addresses in Kafka responses, and need nothing of the cluster.
//
// # Checks
//
// [Evidence.Check] reads what was produced to one log, what LaunchDarkly saw of it, what was
// committed, and what is in the dead-letter topic. It shares no code with the program. It asserts,
// for each record and each request:
//
//  1. Nothing is missing, and nothing counts twice after deduplication by payload ID.
//  2. One payload ID never carries two bodies, rejected and broken requests included.
//  3. No commit passes a record that is neither delivered nor in the dead-letter topic at that
//     time. The committed offset never goes down. In the end it is the end of the log.
//  4. No request reaches LaunchDarkly before a commit recorded its range: its events are exactly
//     those between two offsets that are neighbors in one commit, or a half of them, or a half of
//     that, as a rejected batch is split.
//  5. A cut that ends a range with events stays in the commits until the committed offset has
//     passed it.
//  6. The dead-letter topic holds what can never be delivered, with its reason, and nothing else.
//  7. No event waits longer than a minute for its delivery; 20 seconds on a schedule of only clean
//     joins and leaves.
//  8. After a member is gone in calm, each partition is delivered from again within the session
//     timeout and two seconds. This is judged only while the brokers are up and quick, and if all
//     members were in the group, which had kept up and was not rebalancing already.
//  9. On a schedule of only clean joins and leaves nothing is sent twice, even before
//     deduplication, except for what was rejected.
//
// Each topic, and each incarnation of a topic, is a log of its own. The main topic is held to all
// of the above. For the others, only what was provoked is expected:
//
//   - A record that Kafka lost or deleted may be missing. A record that Kafka kept may count more
//     than once only if all but one of the requests that count it are of recorded ranges of which
//     Kafka lost a record: nobody can form those again.
//   - After a lagging replica is elected, the committed offset of that partition may go down once,
//     not below the first offset whose record was lost, and cuts beyond that offset may be
//     forgotten once. Which records were lost is read from the log that survived.
//   - After an operator sets the offsets, everything from there on is delivered exactly once again,
//     and nothing before it. An offset beyond the end counts as the end. What a payload ID of the
//     time before deduplicates is delivered.
//
// [Run] adds what it sees of the processes: that none exits by itself, exit codes, memory, and how
// long they take to leave. A member that is told to leave exits with 0. Exit code 1 means that it
// could not deliver or commit everything, which is allowed around a broker's absence, after a fault
// of its network, or after it was stopped, and is counted. Of two members with one instance ID, the
// coordinator must fence one, which may exit.
//
// Every commit and request is also replayed, in the order of time, through the [model.Observer]
// that judges the search of every schedule in package consumer: each observed step must be one that
// the model allows. Partitions of which undelivered records were deleted are left out, because the
// model has no retention.
//
// # Times
//
// Commits of Apache Kafka are read from the log of __consumer_offsets, which holds each of them
// with the time at which the coordinator appended it; those of the embedded broker from the log
// that it keeps of its groups. So every commit is checked, in addition to samples of what a new
// member would read. The brokers, the fake and the members have one clock, since all are on one
// machine; times are compared in whole milliseconds, as the logs have them.
//
// The package needs Linux: it reads /proc, and its processes die with it.
package chaos

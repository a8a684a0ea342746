// Package consumer reads Segment events from Kafka as a member of a consumer group and delivers
// them to LaunchDarkly. It maps records (package transform), seals batches, sends them (package
// sink), and commits offsets.
//
//	poll ─► record queue ─► intake ─► sealed batch ─► cut committed ─► request ─► watermark
//	poll.go fetchqueue.go   intake.go batch.go        committer.go     deliver.go window.go
//
// The package guarantees:
//
//  1. The committed offset never passes a record until the record is delivered, filtered, or
//     written to the dead-letter topic. Without a dead-letter topic, rejected calls are counted and
//     logged.
//  2. A batch is a range of one partition's log. It is sent only after its end, the cut, is stored
//     in the metadata of a commit (cuts.go). The next owner of the partition first cuts at the same
//     offsets, regardless of its settings. A batch redelivered after a crash or a rebalance is
//     therefore the same batch under the same payload ID, and LaunchDarkly counts it once.
//  3. A commit is never overtaken by an older one. A commit that may have been written but got no
//     response ends the session. The next session has a different member ID or generation, so the
//     broker rejects older commits that are still in flight. This fence needs no clock.
//  4. After a partition is revoked or lost, none of its batches is recorded, committed, or newly
//     sent. The broker does not enforce this: it checks which member commits, not which partitions
//     it owns.
//  5. The start offset of a partition is never guessed (start.go). Every rewind, skip, and loss is
//     counted and logged, and no record already read is dropped silently.
//  6. A stuck partition, event, or batch delays no other. Each partition has a bounded window of
//     unfinished batches, and a full window stops only its own intake. All windows together leave
//     half of the memory budget free.
//  7. Memory is bounded. The budget bounds request bodies and dead letters, the poll loop bounds
//     records, and fetchbudget.go bounds decompressed fetches.
//  8. On a clean revoke or stop, sealed batches are delivered or left to the next owner. No
//     in-flight request is canceled, so nothing is sent twice. This requires a Config.DrainTimeout
//     of at least twice the request timeout. If LaunchDarkly rejected a whole batch, parts of it
//     may be resent under the same payload IDs.
//  9. Run returns within Config.DrainTimeout plus 15 seconds after its context is done, even if the
//     brokers never respond.
//
// The package does not guarantee:
//
//   - the order of events
//   - that a dead letter is written only once
//   - that events count once if the mapping, the destination, or batch.max_bytes changes between
//     two attempts for the same range, because the request body or its ID then differs
//   - that stuck partitions delay no other if two batches of each exceed half of the budget
//   - that a topic without an ID (brokers older than 2.8) is known to have been recreated if no
//     member was running at the time
//
// # Sessions
//
// [Consumer.Run] runs one session after another. A session is one membership in the group. It owns
// the Kafka client, the partitions, and their start offsets. Rebalances within a session are
// cooperative: a partition that stays with its member is read and delivered without interruption.
// Nothing is restarted within a session. Instead, the session ends on:
//
//   - an offset commit that may have been written but got no response within 10 seconds (5 for the
//     last commit of a revoke or stop), or whose connection broke (a killed coordinator, or a network
//     outage at that moment)
//   - lost membership (a session timeout, or removal by an operator)
//   - another member with the same instance ID
//   - a partition assigned while it is being read, or committed offsets that could not be fetched
//     within 10 seconds
//   - a topic that was created, recreated, or deleted
//   - a truncated log, or a record that the client returned twice
//
// The end of a session costs one rejoin. The partitions pause until the group has rebalanced,
// usually for a few seconds. Batches in flight are resent under their payload IDs, and LaunchDarkly
// ignores those that it has already counted. The next session starts from the committed offsets
// after a backoff of at most 0.25 seconds, or of up to 10 seconds if the session committed nothing.
// sessions_ended_total counts sessions by the cause of their end.
//
// A session survives a coordinator that moves cleanly, a broker that stops cleanly, a closed idle
// connection, and a rejected commit, unless the broker reports that the member was removed or fenced
// (endCauseOf).
//
// # How batches and partitions end
//
// A batch is open, then sealed, recorded, and delivered; see batch. It ends in one of three ways.
// It is finished when the watermark passes it. It is left to the next owner, recorded or not, when
// the partition is released. It is lost, and counted as lost, if the log was truncated or the topic
// was recreated.
//
// Ownership of a partition ends on a revoke, on a stop, or with the session; see the table in
// drain.go.
//
// # Locks
//
// Acquire locks in this order. Hold none of them while calling the client, the sink, or a broker,
// except for committer.commitMu:
//
//	committer.commitMu  [snapshot, commit, apply] and [last commit, fence]; held until the
//	                    broker responds
//	session.mu          the partitions of the session, and the cause of its end
//	window.mu           one per partition: its batches, floor, and cuts
//	committer.mu        the dirty partitions
//
// The locks of recordQueue, logEnd, health, topics, Consumer, and sink.Budget come last: acquire no
// other lock while holding one of them.
//
// Callbacks of the Kafka client block the rebalance that they belong to. onAssigned and onLost do
// not block. onOffsetsFetched blocks for at most 20 seconds. onRevoked blocks for at most
// Config.DrainTimeout plus 5 seconds, which is less than [RebalanceTimeout]. The poll loop calls
// AllowRebalance after each poll and never waits for a delivery in between.
//
// # Goroutines
//
// [Consumer.Run] runs the poll loop of the session itself. The session owns one goroutine that
// commits, one that watches topics, and one per partition that maps records. They have exited when
// session.run returns. Goroutines that write dead letters have exited when Run returns.
//
// # Client behavior that is easy to miss
//
//   - The client calls revoked with an empty map at the end of every cooperative rebalance. Without
//     a lost callback, it calls nothing at all when the group removes the member.
//   - A rebalance waits until polled records are handed over (BlockRebalanceOnPoll). It must never
//     wait for a delivery, or the group would remove the member.
//   - Pausing a partition discards its fetched records, and a pause survives rebalances. A
//     partition is therefore paused late, and resumed when it is assigned.
//   - Client.Request retries on its own. Broker.Request retries only if nothing was written.
//   - Offsets have gaps where transactions ended or compaction ran.
//   - Closing the client waits for a join in progress before it leaves the group, and does not send
//     a static member's instance ID. Sessions therefore cancel the client and leave the group
//     themselves.
//   - There is no max.poll.interval, so a stuck delivery keeps its partition. For this reason, the
//     age of the oldest batch is a metric.
//
// # Cost
//
// go run ./cmd/bench compares the CPU per record with that of only fetching and discarding it. With
// -pprof it writes a CPU profile. Findings:
//
//   - The fetch size affects memory, not throughput: halving it cut peak memory by a quarter and
//     did not change the rate. A fetch should hold several producer batches of one partition,
//     because Apache Kafka truncates the last batch, which is then fetched again.
//   - Lending the client memory for records (recordPool) saves a tenth of the CPU if the returned
//     slices are reused. With the wrong size classes, the pool only used more memory.
//   - In-flight requests cost nothing while they wait. At a latency of 100 ms, 64 requests in
//     flight keep up with one processor; 16 do not.
//   - Counters are updated once per poll, not once per record.
//   - A partition must not be paused whenever its window is briefly full. Each pause discards
//     records that are fetched again, and a resumed partition waits for the fetch in flight, which
//     is why a fetch waits for at most half a second.
package consumer

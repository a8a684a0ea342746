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
//     written to the dead-letter topic. Without a dead-letter topic, rejected calls are only
//     counted and logged.
//  2. A batch is a range of one partition's log. The end of the range is the batch's cut. A batch
//     is sent only after its cut is recorded in commit metadata (cuts.go). The partition's next
//     owner first seals batches at the recorded cuts, regardless of its own settings. A batch
//     redelivered after a crash or rebalance therefore has the same events and payload ID, and
//     LaunchDarkly counts it once.
//  3. An older commit never overwrites a newer one. If a commit may have reached the broker but got
//     no response, the session ends. The next session has a different member ID or generation, so
//     the broker rejects older commits still in flight. This fence does not depend on clocks.
//  4. Once a partition is revoked or lost, the previous owner no longer records, commits, or sends
//     the partition's batches. The broker does not enforce this rule: it checks which member
//     commits, not which partitions that member owns.
//  5. A partition's start offset is never guessed (start.go). Every rewind, skip, and loss is
//     counted and logged. No record is silently dropped after it is read.
//  6. A stuck partition, batch, or event never delays other partitions. Each partition has a
//     bounded window of unfinished batches, and a full window stops only that partition's intake.
//     Together, the windows leave about half of the memory budget free.
//  7. Memory is bounded. The budget limits request bodies and dead letters, the poll loop limits
//     queued records, and fetchbudget.go limits decompressed fetches.
//  8. On a clean revoke or stop, sealed batches are delivered or left for the next owner. If
//     Config.DrainTimeout is at least twice the request timeout, no in-flight request is canceled.
//     If the last commit also succeeds, nothing that LaunchDarkly has accepted is resent. The
//     exception is a batch that LaunchDarkly rejected as a whole: its accepted parts may be resent
//     under the same payload IDs.
//  9. Run returns within Config.DrainTimeout plus [ShutdownTimeout] after its context is done, even
//     if the brokers never respond.
//
// The package does not guarantee:
//
//   - the order of events
//   - that a dead letter is written only once
//   - that events are counted once if the mapping, the destination, or batch.max_bytes changes
//     before a range is sent again, because the request body or its ID then differs
//   - that stuck partitions never delay other partitions if two batches per stuck partition
//     together exceed half of the memory budget
//   - that a recreated topic is detected if topics have no IDs (brokers older than 2.8) and no
//     member was running at the time
//
// # Sessions
//
// [Consumer.Run] runs one session after another. A session is one membership in the group, and owns
// the Kafka client, the partitions, and their start offsets. Rebalances within a session are
// cooperative: partitions that keep their owner are read and delivered without interruption.
// Nothing is restarted within a session. Instead, the whole session ends on:
//
//   - an offset commit that may have reached the broker, if the connection breaks or no response
//     arrives within 10 seconds (5 for the last commit on a revoke or stop)
//   - lost membership (a session timeout, or removal by an operator)
//   - another member joining with the same instance ID
//   - a partition assigned while it is already being read
//   - start offsets that cannot be resolved because a lookup fails permanently or for 10 seconds
//   - a topic that was created, recreated, or deleted
//   - a truncated log, or a record returned twice by the client
//   - under the consumer protocol, a heartbeat without a response, for instance because the
//     coordinator crashed, or a Metadata response with an error for a consumed topic
//
// Ending a session costs one rejoin. The member's partitions are not read until the group has
// rebalanced, which usually takes a few seconds. In-flight batches are resent under the same payload
// IDs, and LaunchDarkly ignores those already counted. The next session starts from the committed
// offsets after a backoff of at most 0.25 seconds. The backoff grows to at most 10 seconds while
// sessions keep ending without a commit, and is always 10 seconds after an instance ID conflict.
// The metric sessions_ended_total counts ended sessions by cause.
//
// A session survives a clean coordinator move, a clean broker stop, and a closed idle connection. A
// session also survives a rejected commit, unless the broker reports that the member was removed or
// fenced (endCauseOf).
//
// # How batches and partitions end
//
// A batch is opened, sealed, recorded, delivered, and finished; see batch. The watermark passes a
// finished batch once all earlier batches of the partition are finished. When the partition is
// released, unfinished batches, recorded or not, are left for the next owner. If the log is
// truncated or the topic is recreated, batches may be lost, and the cause is logged.
//
// Partition ownership ends on a revoke, on a stop, or with the session; see the table in drain.go.
//
// # Runs that end
//
// With Config.Until, Run ends once everything before that time is delivered and committed; see
// until.go. Each partition's intake stops at the partition's end, and watchEnds ends Run. The
// partitions go to the remaining members, for which they are already complete.
//
// # Locks
//
// Acquire locks in this order, and hold none of them except committer.commitMu while waiting for
// the client, the sink, or a broker:
//
//	committer.commitMu  makes [snapshot, commit, apply] and [last commit, fence] atomic; held
//	                    until the broker responds
//	session.mu          guards the session's partitions, start offsets, and end cause
//	window.mu           one per partition; guards its batches, floor, and cuts
//	committer.mu        guards the dirty partitions
//	formats.mu          guards the topics' formats
//
// The locks of recordQueue, logEnd, unsealedTime, health, rejects, eventNames, delivered, topics,
// ends, failingLetters, Consumer, and sink.Budget are leaf locks: do not acquire another lock while
// holding one of them.
//
// Each Kafka client callback blocks the rebalance in progress until the callback returns.
// onAssigned and onLost return immediately. onOffsetsFetched blocks for at most 20 seconds.
// onRevoked blocks for at most Config.DrainTimeout plus 5 seconds. If onRevoked takes longer than
// [RebalanceTimeout], the group removes the member. The poll loop calls AllowRebalance after each
// poll, without waiting for a delivery first.
//
// # Goroutines
//
// [Consumer.Run] runs the session's poll loop in the caller's goroutine. The session starts one
// goroutine to commit, one to watch topics, one to watch for the end of the run, and one per
// partition to map records. All of them exit before session.run returns. Goroutines that write dead
// letters exit before Run returns.
//
// # Client behavior that is easy to miss
//
//   - The client calls the revoked callback with an empty map at the end of every cooperative
//     rebalance. If no lost callback is set, the client does not report that the group removed the
//     member.
//   - With BlockRebalanceOnPoll, a rebalance waits until the polled records are distributed.
//     Distribution must never wait for a delivery, or the group would remove the member.
//   - Pausing a partition discards its fetched records, and a pause survives rebalances. Partitions
//     are therefore paused late, and resumed on assignment.
//   - Client.Request retries on its own. Broker.Request retries only if nothing was written.
//   - Offsets have gaps left by transactions and compaction.
//   - With KIP-848, if a Metadata response contains an error for a topic, the next heartbeats list
//     the member's partitions of that topic without the topic's ID. The group then treats these
//     partitions as released, and can assign them to other members while this member drains them.
//     Such heartbeats therefore end the session immediately.
//   - Client.Close waits for a join in progress before it leaves the group. With KIP-848, it leaves
//     without sending a static member's instance ID. Sessions therefore cancel the client and leave
//     the group themselves.
//   - The client has no max.poll.interval, so a member with a stuck delivery keeps its partitions.
//     The oldest batch's age is therefore a metric.
//
// # Cost
//
// go run ./cmd/bench compares the CPU time per record with that of fetching and discarding the
// record. With -all, the command also measures the parts of the CPU time, memory, and constant
// rates. With -pprof, it writes CPU profiles. Findings:
//
//   - At low rates, the number of fetches determines the CPU time. If each fetch waits up to half a
//     second for 128 KiB, 100 records per second need a fifth of the CPU time. The wait counts
//     towards the age of a batch, and so delays no delivery.
//   - The fetch size affects memory, not throughput: halving it cut peak memory by a quarter and
//     left the rate unchanged. A fetch should have room for several producer batches per partition,
//     because Apache Kafka may truncate the last batch of a fetch, which the client must then fetch
//     again.
//   - Reusing record memory (recordPool) saves a tenth of the CPU time. A slice that is a little too
//     small is useless, because decompression then allocates another one. The pool is a free list,
//     because each garbage collection empties a sync.Pool.
//   - In-flight requests use no CPU while they wait. At a latency of 100 ms, 64 in-flight requests
//     deliver as fast as one processor produces batches; 16 do not.
//   - Counters are updated once per poll and partition, not once per record.
//   - A partition must not be paused every time its window is briefly full. Each pause discards
//     records, which must be fetched again. A resumed partition also waits for the fetch in flight.
//     To keep that delay short, a fetch waits at most half a second for records.
//
// The libraries could save more. None of this is possible, or worth its code, outside of them:
//
//   - The client could skip the checksum of zstd frames, because the checksum of the record batch
//     covers the same bytes. Decompressing a batch of 1 MB then takes 4% less time, but only
//     producers written in Go add this checksum.
//   - The client allocates each response. These buffers are almost half of all allocated bytes.
//     Reusing them would save an estimated 1.5% of the CPU time.
//   - The client zeroes recycled memory before each reuse, which takes 2% of the CPU time. Only the
//     records themselves contain pointers and have to be cleared.
//   - deflate at level 1 is written in Go. Written in assembly, it would save an estimated 7% of the
//     CPU time.
package consumer

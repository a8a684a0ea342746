// Package consumer reads Segment events from Kafka as a member of a consumer group and delivers them:
// it maps records (package transform), seals batches, sends them (package sink), and commits.
//
//	poll ─► record queue ─► intake ─► sealed batch ─► cut committed ─► request ─► delivered ─► watermark ─► commit
//	poll.go fetchqueue.go   intake.go batch.go        committer.go     deliver.go              window.go
//
// The package guarantees:
//
//  1. The committed offset never passes a record that is neither delivered, filtered, nor written to the
//     dead-letter topic. Without such a topic, rejected calls are counted and logged.
//  2. A batch is a range of one partition's log, and is sent only after its end, the cut, is stored in
//     the metadata of a commit (cuts.go). The next owner of the partition cuts at the same offsets first,
//     regardless of its settings. A batch that is redelivered after a crash or a rebalance is therefore
//     the same batch under the same payload ID, and LaunchDarkly counts it once.
//  3. A commit is never overtaken by an older one. A commit that may have been written and was not
//     answered ends the session, and the next session has another member ID or generation, so that the
//     broker rejects whatever is still on its way. This fence needs no clock.
//  4. After a partition is revoked or lost, nothing of it is recorded, committed or newly sent. The broker
//     does not enforce this: it checks which member commits, not which partitions the member owns.
//  5. Where a partition starts is never guessed (start.go). Every rewind, skip and loss is counted and
//     logged, and nothing that was read is dropped without a trace.
//  6. A partition, an event or a batch that is stuck delays no other. Each partition has a bounded window
//     of unfinished batches; a full one stops its own intake. All windows together leave half of the
//     memory budget free.
//  7. Memory is bounded: request bodies and dead letters by the budget, records by what is polled at a
//     time, and what fetches decompress to by fetchbudget.go.
//  8. On a clean revoke or stop, sealed batches are delivered or left to the next owner, and no request in
//     flight is canceled, so that nothing is sent twice. That takes a Config.DrainTimeout of twice the
//     time that a request may last. The parts of a batch that LaunchDarkly rejected as a whole may be sent
//     again, under the same payload IDs.
//  9. Run returns within Config.DrainTimeout and 15 seconds after its context is done, regardless of what
//     the brokers do.
//
// The package does not guarantee: the order of events; that a dead letter is written only once; that
// events count once if the mapping, the destination, or batch.max_bytes changes between two attempts for
// the same range, since the request body or its ID differs; that partitions that are stuck delay no other
// where two batches of each do not fit into half of the budget; that a topic without an ID (brokers before
// 2.8) that is recreated while no member runs is detected.
//
// # Sessions
//
// [Consumer.Run] runs one session after another. A session is one membership of the group and owns the
// Kafka client, the partitions, and where they start. Rebalances within a session are cooperative: a
// partition that stays with its member is read and delivered without interruption. Nothing is restarted
// within a session. Whatever cannot be trusted any more ends it:
//
//   - an offset commit that may have been written and was not answered within 10 seconds, or whose
//     connection broke: a coordinator that is killed hard, or a network outage at that moment
//   - lost membership: a session timeout, or a member removed by an operator
//   - another member with the same instance ID
//   - a partition assigned while it is being read, or offsets that could not be fetched for 10 seconds
//   - a topic that was recreated, deleted, or came into being
//   - a truncated log, or a record that the client read twice
//
// An ending costs one rejoin: the partitions pause until the group has rebalanced, usually for a few
// seconds, and the batches in flight are sent again under their payload IDs, which LaunchDarkly ignores if
// it has counted them. The next session begins after a backoff of at most 0.25 seconds, or of up to 10 seconds
// if the session committed nothing, from what the group has committed. sessions_ended_total counts the endings by cause.
//
// A coordinator that moves in an orderly way, a broker that stops cleanly, an idle connection that is
// closed, and a commit that the broker rejects end no session.
//
// # The ends of batches and partitions
//
// A batch is open, sealed, recorded, and delivered, in this order; see batch. It ends in one of three ways:
// finished, when the watermark passes it; left to the next owner, recorded or not; or, if the log was
// truncated or its topic recreated, lost, which is counted.
//
// The ownership of a partition ends by a revoke, by a stop, or with the session; drain.go has the table.
//
// # Locks
//
// Acquire them in this order, and hold none while calling the client, the sink, or a broker, except for
// committer.turn:
//
//	committer.turn   [snapshot, commit, apply] and [last commit, fence]; held while the broker responds
//	session.mu       the partitions of the session and why it has ended
//	window.mu        one per partition: its batches, floor and cuts
//	committer.mu     which partitions are dirty
//	recordQueue.mu, logEnd.mu, health.mu, topics.mu, Consumer.mu, sink.Budget   each is the last
//
// Callbacks of the Kafka client hold up the rebalance that they belong to. onAssigned and onLost do not
// block. onOffsetsFetched blocks for at most 20 seconds. onRevoked blocks for at most
// Config.DrainTimeout and 5 seconds, which is below [RebalanceTimeout]. The poll loop calls AllowRebalance
// after each poll and never waits for a delivery in between.
//
// # Goroutines
//
// [Consumer.Run] runs the poll loop of the session itself. The session owns one goroutine that commits,
// one that watches topics, and one per partition that maps records. All have ended when run returns; the
// writes of dead letters have when Run returns.
//
// # Facts about the client that are not obvious
//
//   - The client calls revoked with an empty map at the end of every cooperative rebalance, and without a
//     lost callback it calls nothing at all when the group removes the member.
//   - A rebalance waits for polled records to be handed over (BlockRebalanceOnPoll), never for a delivery:
//     that would get the member removed.
//   - Pausing a partition discards what was fetched, and a pause survives rebalances. A partition is
//     paused late, and resumed when it is assigned.
//   - Client.Request retries by itself; Broker.Request does not, except where nothing was written.
//   - Offsets have gaps, where transactions ended or compaction ran.
//   - Closing the client leaves the group only after a join in progress, and tells the group nothing of a
//     static member's instance ID. Sessions therefore cut the client off and leave by themselves.
//   - There is no max.poll.interval: a stuck delivery keeps its partition. The age of the oldest batch is a
//     metric for that reason.
//
// # What it costs
//
// go run ./cmd/bench shows the CPU per record next to that of fetching and discarding it; with -pprof,
// where it goes. What was learned:
//
//   - The size of a fetch decides about memory, not about speed: half the bytes took a quarter off the peak
//     and nothing off the rate. A fetch should hold several producers' batches of one partition: Apache
//     Kafka cuts the last one off, and it is fetched again.
//   - Lending the client memory for records (recordPool) saves a tenth of the CPU, if what is returned is
//     found again. Wrongly sized it only took memory.
//   - Requests in flight cost nothing while they wait. At 100 ms, 64 of them send what one processor can
//     prepare; 16 do not.
//   - Counters are updated once per poll, not per record.
//   - A partition must not be paused whenever its window is full for a moment: each pause fetches again
//     what was discarded, and a resumed partition waits for the fetch in flight, which is why that waits
//     half a second at most.
package consumer

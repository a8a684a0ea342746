// Package consumer reads Segment events from Kafka as a member of a consumer group
// and has them delivered: it maps records (package transform), seals batches, posts
// them (package sink), and commits.
//
//	poll ─► partition goroutine ─► buffer ─► sealed batch ─► cut recorded ─► POST ─► delivered ─► watermark ─► commit
//
// What the package guarantees:
//
//  1. The committed offset never passes a record that is neither delivered,
//     filtered, nor written to the dead-letter topic. Without such a topic what is
//     rejected or refused is counted and logged.
//  2. A batch is a range of one partition's log and is posted only after its end,
//     the cut, is stored in the metadata of a commit (see metadata.go). Whoever owns
//     the partition next cuts at the same offsets first, whatever its settings. So a
//     batch that is sent again, after a crash or a rebalance, is the same batch under
//     the same payload ID, and LaunchDarkly counts it once.
//  3. After a partition is revoked or lost, nothing of it is marked, committed or
//     newly posted. The broker does not see to that: it checks who commits, not what.
//  4. A partition, an event or a batch that is stuck delays no other. Each partition
//     has a bounded window of unfinished batches; a full one stops its own intake.
//     Together they leave half of the budget free.
//  5. Memory is bounded: bodies by the budget, records by what is polled at a time.
//  6. Giving a partition up in peace (a rebalance, a shutdown) delivers what is
//     sealed, or leaves it to the next owner, and breaks no request off, so that a
//     clean join or leave sends nothing twice, however slow LaunchDarkly is. That
//     takes a Config.DrainTimeout of twice the time that a request may last. (The parts
//     of a batch that LaunchDarkly refused as a whole may be sent again, under the same
//     payload IDs.)
//
// What it does not guarantee: the order of events; that a dead letter is written
// only once (a crash before its commit writes it again, as does a partition that is
// given up before its batch is delivered); that a mapping that was changed between two
// attempts for the same range counts its events once (the body differs, so
// LaunchDarkly takes both); that a topic that is created again while no member runs is
// noticed where brokers keep offsets by the topic's name (it is logged, since tools
// that carry groups to another cluster leave the same trace); that partitions that are
// stuck delay no other where two batches of each do not fit into half of the budget.
//
// # Between the design and the code
//
// A range of filtered records takes no place in the window: the floor rises over it.
// If sealed batches stand before it, the gap is one more length in the metadata.
//
// The metadata names the cuts that a new owner has not reached again too, so that
// a second crash does not forget what the first one left.
//
// A piece of a range that an earlier owner recorded is never sealed, not even when
// the partition is given up or memory is short: only the whole range is safe.
//
// # Truths about the client that are not obvious
//
//   - The client calls revoked with an empty map at the end of every cooperative
//     session, and without a lost callback calls nothing at all when the group throws
//     the member out.
//   - A rebalance waits for polled records to be handed over (BlockRebalanceOnPoll),
//     never for a delivery: that would get the member thrown out.
//   - Pausing a partition throws away what was fetched, and a pause survives
//     rebalances. We pause late, and resume on assignment.
//   - Offsets can go down within an assignment, after truncation; and have gaps,
//     where transactions ended or compaction was at work.
//   - Leaving waits for a join under way, and the group lets nobody in before the
//     slowest member has given up what it has to. We do not wait: see leave.
//   - There is no max.poll.interval: a delivery that is stuck keeps its partition.
//     The age of the oldest batch is a metric for that reason.
//
// # What it costs
//
// go run ./cmd/bench shows the cost of a record beside that of fetching and discarding
// it; with -pprof, where it goes. With events of 0.9 KB and producers' batches of 1 MB
// it is 1.8 times that on the embedded broker and 2.0 times on Apache Kafka (-apache);
// with batches of 16 KB, 1.6 on both. A third of it is the client's fetching and
// unpacking, a quarter the mapping, a quarter gzip; commits, posting and the collector
// share the rest. What was learned on the way:
//
//   - The size of a fetch decides about memory, not about speed: half the bytes took a
//     quarter off the peak and nothing off the rate. What it may hold of one partition
//     should be several of the producers' batches: Apache Kafka cuts the last one off,
//     and it is fetched again.
//   - Lending the client memory for records (its pools) saves a tenth of the CPU, if
//     what is given back is found again: see pool. Wrongly sized it only took memory.
//   - Requests in flight cost nothing while they wait. 64 of them take at 100 ms what
//     one processor can prepare; 16 do not.
//   - Counters are told once for each poll, not for each record.
//   - A partition must not be paused whenever its window is full for a moment: each
//     pause fetches again what was thrown away, and a partition that is resumed waits
//     for the fetch under way, which is why that waits half a second at most.
//
// # Goroutines
//
// [Consumer.Run] owns one that polls, one that commits, one that watches topics; each
// partition owns one that takes records. All have ended when Run returns.
package consumer

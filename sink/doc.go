// Package sink delivers custom events to LaunchDarkly. A [Buffer] collects events and seals them
// into a [Batch], and a [Client] sends the batches. The package does not depend on Kafka or
// Segment.
//
// The package guarantees:
//
//  1. A [Batch] never changes after [Buffer.Seal]: its range, body, and payload ID are fixed.
//  2. The payload ID is derived only from the [Source], the batch's range and leader epoch, the
//     indexes of the events sent, the body, and the environment. Equal inputs always produce the
//     same ID. Different inputs produce different IDs, barring a hash collision. The environment is
//     identified by its client-side ID or by its project and environment keys, depending on the
//     endpoint. The URL and the credentials are not part of the ID.
//  3. Every attempt to send a body uses the same bytes and the same payload ID. LaunchDarkly
//     therefore counts the events once, however often the body is sent.
//  4. A batch is reported as delivered only after each of its events has been accepted by
//     LaunchDarkly or handled by [Delivery.Rejected] without an error. Acceptance requires a 2xx
//     response whose body can be read to its end or up to 64 KiB. Redirects are never followed and
//     never count as delivered.
//  5. Nothing is dropped. Retryable failures are retried until the context is done. Each retry
//     waits for the delay in Retry-After or, without this header, for a capped exponential backoff
//     with full jitter. If LaunchDarkly rejects the URL or the credentials rather than the events,
//     the client halts (see [Client.Halted]). While halted, the client sends one probe at a time,
//     at intervals of up to 10 s and immediately after the credentials change. If LaunchDarkly
//     rejects one batch in this way but accepts others, that batch halts delivery at most once and
//     then backs off alone. Only 400, 413, and 422 count as rejections of events. After 100
//     rejected events in a row, these responses halt delivery as well. Without this limit, a proxy
//     that responds to everything with 400 would cause every event to be rejected.
//  6. A batch in backoff does not count against [Config.MaxInFlight], so it does not delay other
//     batches. While the destination itself is failing, the client lowers its concurrency, down to
//     one request at a time, no matter how many batches are waiting. During an outage, the next
//     attempt starts at most 10 s after the last one has ended, unless LaunchDarkly has asked for a
//     longer delay with Retry-After. The end of an outage also ends the backoff of every batch.
//  7. When a delivery's context is done, its in-flight attempts are canceled, no new attempts
//     start, and [Delivery.Done] is called. When only [Delivery.Until] is done, in-flight attempts
//     can finish, but no new ones start.
//  8. [Status] and [Halt] contain no text from response bodies. Logs and [Rejection] contain the
//     start of a response without what it quotes from the request; see mask.
//  9. The memory used by a [Buffer] is proportional to its content. Callers must account for
//     buffered and undelivered bytes in a [Budget].
//
// Limitations:
//
//   - Batches may be delivered in any order.
//   - LaunchDarkly does not publish its deduplication window. Batches resent after an outage longer
//     than this window count twice.
//   - If LaunchDarkly rejects a batch, accepts its parts, and then accepts the whole batch after a
//     crash, the events in those parts count twice.
//   - If the mapping, the destination (endpoint or environment), or batch.max_bytes changes between
//     two attempts, the same events may be sent in a different body or under a different payload
//     ID. Such events can count twice.
//
// A [Client] runs one goroutine per in-flight request. While delivery is halted, another goroutine
// reads the credentials every second. [Client.Close] waits for these goroutines. Timer and context
// callbacks run in short-lived goroutines of their own.
package sink

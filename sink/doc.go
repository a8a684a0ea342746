// Package sink delivers custom events to LaunchDarkly. It collects events in a [Buffer], seals the
// buffer into a [Batch], and sends batches with a [Client]. It knows nothing about Kafka or
// Segment.
//
// What the package guarantees:
//
//  1. A [Batch] never changes after [Buffer.Seal]: its range, body, and payload ID are fixed.
//  2. The payload ID is a function of the content sent. The same range of the same log, rendered to
//     the same body for the same environment, always has the same ID, and two different bodies
//     never share one. The environment is identified by its client-side ID, or by its project and
//     environment keys. Its URL and the access token are not part of the ID.
//  3. Every attempt to send a body uses the same bytes and the same payload ID, so that
//     LaunchDarkly counts the body once regardless of how often it is sent.
//  4. A batch is reported as delivered only after every event in it was either accepted by
//     LaunchDarkly with a 2xx response or, if rejected individually, taken over by the caller (see
//     [Delivery.Rejected]). The 2xx response must be readable to its end, or for 64 KiB. Redirects
//     are never followed and never count as delivered.
//  5. Nothing is dropped. Retryable failures are retried until the context is done, after a capped
//     exponential backoff with full jitter, or after the delay in Retry-After. If LaunchDarkly
//     rejects the URL or the credentials rather than the events, the client halts: it sends one
//     probe at a time, slowly, and another one as soon as the access token changes (see
//     [Client.Halted]). If LaunchDarkly rejects the requests of one batch while it accepts others,
//     that batch halts delivery at most once and then backs off alone. Only 400, 413, and 422 count
//     as a rejection of events, and only until 100 events in a row have been rejected. A server
//     that responds to everything with 400 or 405 is not LaunchDarkly, or is misconfigured, and
//     must not empty the topic.
//  6. A batch that is backing off does not occupy a slot for in-flight requests, so it delays no
//     other batch. While the destination as a whole is failing, the client sends single probes
//     until one succeeds, regardless of how many batches are waiting.
//  7. When the context of a delivery is done, the in-flight attempt is canceled, no new attempt
//     starts, and [Delivery.Done] is called immediately afterwards. When only [Delivery.Until] is
//     done, the in-flight attempt is allowed to finish.
//  8. The memory held by a [Buffer] is proportional to its content. Callers that fill buffers must
//     account for buffered and waiting bytes in a [Budget].
//
// Limitations:
//
//   - Batches may be delivered in any order.
//   - LaunchDarkly's deduplication window is not published. An outage of this program may exceed
//     it.
//   - If LaunchDarkly rejects a batch, accepts its parts, and then (after a crash) accepts the
//     whole batch, the events in those parts count twice.
//   - If the mapping, the destination (endpoint or environment), or batch.max_bytes changes between
//     two attempts, in-flight events may be sent in a different body or under a different payload
//     ID. They then count twice.
//
// A [Client] runs one goroutine per in-flight request, a short-lived one for each delivery whose
// context is done, and, while halted, one that reads the access token every second. [Client.Close]
// returns after all of them have exited.
package sink

// Package sink delivers LaunchDarkly custom events: it collects them in a
// [Buffer], seals the buffer into a [Batch], and posts batches with a [Client].
// It knows neither Kafka nor Segment.
//
// What the package guarantees:
//
//  1. A [Batch] never changes after [Buffer.Seal]: its range, its body and its
//     payload ID are fixed.
//  2. The payload ID is a function of what is posted: the same range of the same
//     log rendered to the same body for the same environment has the same ID wherever
//     and whenever it is formed, and two different bodies never share one. The
//     environment is named by its client-side ID, or by its project and environment
//     keys. Its URL and the access token do not matter.
//  3. Every attempt for the same body sends the same bytes under the same payload
//     ID, so that LaunchDarkly counts it once however often it is sent.
//  4. A batch is reported delivered only after LaunchDarkly answered 2xx, readable
//     to its end (or 64 KiB of it), for every event of it, or after the refusal of a single event
//     was taken over by the caller (see [Client.Deliver]). No redirect is followed
//     and none counts as delivered.
//  5. Nothing is dropped: what may succeed later is retried until its context is
//     done, with capped exponential backoff and full jitter, or when Retry-After says
//     so. Where LaunchDarkly refuses us and not an event, the same requests are made
//     again, slowly, one at a time ([Client.Halted]), and at once when the access token
//     has changed. Where LaunchDarkly refuses the requests of one batch and accepts
//     others, this batch halts the others at most once and then backs off alone. Only
//     400, 413 and 422 are taken for a refusal of events, and not when they come for a
//     hundred in a row: whoever answers 405, or 400 to all, is not LaunchDarkly, or not
//     as configured, and must not empty the topic.
//  6. A batch that backs off holds no place among the requests in flight, so it
//     delays no other. When the destination as a whole fails, requests are lowered to
//     single probes until one succeeds, however many batches wait.
//  7. When a delivery's context is done, [Delivery.Done] is called at once, or after
//     the attempt under way, which is cancelled; nothing is posted afterwards. When
//     only [Delivery.Until] is done, the same, but the attempt under way comes to its
//     end.
//  8. What a [Buffer] holds in memory follows what is in it. Whoever fills buffers
//     accounts for them and for what waits in a [Budget].
//
// What it does not guarantee: the order of delivery, and that LaunchDarkly's
// window of deduplication (not published) is longer than an outage of ours.
// Should LaunchDarkly refuse a whole batch, take its parts, and after a crash in
// between take the whole, the events of the parts count twice. If the mapping, the
// destination (endpoint or environment), or batch.max_bytes changes between two attempts,
// the events in flight may be sent in another body or under another payload ID, and so
// count twice.
//
// Goroutines: a [Client] runs one per request in flight, one for a moment to end a
// delivery whose context is done, and, while halted, one that reads the access token
// every second. [Client.Close] returns when they have ended.
package sink

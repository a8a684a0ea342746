// Package segmenttest generates records like those in a topic of Segment events, along with the
// expected outcome of each call.
//
//	g := segmenttest.New(1)
//	value, calls := g.Record(n)     // n = 0, 1, 2, ...
//
// # Guarantees
//
//  1. Record n depends only on the seed and n, so it can be generated again.
//  2. The expected [transform.Reason] of each call follows from how the record is generated, not
//     from parsing it. These outcomes apply to the default configuration.
//  3. Every call that becomes an event has a number in its properties, under [NumberField]. No
//     other call in any record has the same number. See [Number].
//  4. [Generator.Record] does not allocate once its buffers have grown.
//
// # Mix
//
// Three in five calls are track calls. The others are page, identify, screen, and group calls.
// About one record in fifty is not a plain call but a tombstone, an array, a batch, an envelope,
// invalid JSON, an object that is not a call, or a call with a Confluent prefix. About one track
// call in thirty is filtered or rejected because its integrations exclude LaunchDarkly, its event
// name or IDs are missing, or its properties are an array. IDs, times, and values have forms that
// occur in practice, such as integers, null, empty strings, numeric times, and values in strings.
//
// Record sizes follow a log-normal distribution with a median of 0.8 KB and a 99th percentile of
// 2.9 KB, as in public samples of Segment events. The records compress about as well as these
// samples: six to one in blocks of 64 KB.
package segmenttest

// Package segmenttest generates records like those in a topic of Segment events, together with the
// expected outcome of each call.
//
//	g := segmenttest.New(1)
//	value, calls := g.Record(n)     // n = 0, 1, 2, ...
//
// # Guarantees
//
//  1. Record n is a function of the seed and n, so it can be generated again.
//  2. The truth, one [transform.Reason] per call, follows from how the record is generated, not
//     from parsing it. It applies to the default configuration.
//  3. The properties of every call that becomes an event contain a number, under [NumberField],
//     that no other call of any record has. See [Number].
//  4. Record does not allocate once its buffers have grown.
//
// # Mix
//
// Three in five calls are track. The others are page, identify, screen, and group. About one record
// in seventy is not a plain call, but a tombstone, an array, a batch, invalid JSON, or a call with
// a Confluent prefix. About one track call in thirty is filtered or rejected, because its
// integrations exclude LaunchDarkly, its event name or IDs are missing, or its properties are a
// list. IDs, times, and values take forms that occur in practice, such as integers, null, empty
// strings, times as numbers, and values as strings.
//
// Record sizes follow a log-normal distribution with a median of 0.8 KB and a 99th percentile of
// 2.9 KB, as in public samples of Segment events. The records compress about as well as those
// samples, six to one in blocks of 64 KB. No record has an envelope.
package segmenttest

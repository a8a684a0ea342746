// Package segmenttest makes records such as a topic of Segment events holds, and knows what must become of each.
//
//	g := segmenttest.New(1)
//	value, calls := g.Record(n)     // n = 0, 1, 2, ...
//
// # What it guarantees
//
//  1. The n-th record is a function of the seed and n: whoever doubts what record n was makes it again.
//  2. The truth, one [transform.Reason] for each call, is known from how the record was made, not from looking at it.
//     It holds for the default configuration.
//  3. Every call that is an event carries a number in its properties, under [NumberField], that no other call of any
//     record has. See [Number].
//  4. Record allocates nothing once its buffers have grown.
//
// # The mix
//
// Of the calls, three in five are track; the others are page, identify, screen and group. About one record in seventy is
// something else than one call: a tombstone, an array, a batch body, a Confluent prefix, a document that is no JSON. Of the
// track calls, about one in thirty is not for LaunchDarkly or is unusable: integrations off, no event name, no ids,
// properties that are a list. Ids, times and values take the forms that are met in practice: integers, null, empty
// strings, times as numbers, values as strings.
//
// The sizes of records follow a log-normal distribution with the median at 0.8 KB and the 99th percentile at 2.9 KB,
// as in public samples of Segment events. They compress about as well as those: six to one in blocks of 64 KB.
package segmenttest

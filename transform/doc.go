// Package transform maps Segment calls to LaunchDarkly custom events.
//
// It is pure. Its input is bytes and a timestamp, its output is bytes and outcomes. It does no I/O,
// reads no clock, writes no log, and knows neither Kafka nor HTTP. [Compile] validates a [Config]
// once and returns a [Mapping]. A [Transformer] of that mapping then maps one record per
// [Transformer.Append].
//
// # What it guarantees
//
//  1. Every call of a record gets exactly one [Call], which is an event or has a [Reason]. Nothing
//     is dropped without a reason.
//  2. The same record, timestamp, and Config always give the same bytes and the same reasons.
//  3. Every event is valid JSON in valid UTF-8, regardless of the record's content.
//  4. A rejected call does not affect the other calls of its record. Only a document that is not
//     JSON rejects the record as a whole.
//  5. Append allocates nothing for events and filtered calls, provided that dst and calls have room
//     and the scratch space has grown to the length of the records.
//  6. Strings and numbers are copied verbatim. Escapes, large integers, the digits of a number, and
//     the order of keys in properties survive.
//
// It does not guarantee that LaunchDarkly counts an event. [Config.Contexts] describes what has to
// agree.
//
// # Shapes of a record
//
// A record is one call (a JSON object), an array of calls, or an object without type whose batch is
// an array of calls. Segment's libraries send the last shape. The context and integrations at the
// top of a batch apply to each of its calls that does not hold the name. A null counts as held. A
// Confluent prefix (0x00 and a four-byte schema ID) is skipped.
//
//   - An array without calls, or a batch without calls, counts as one call, filtered as no_calls.
//   - In an array, an object without type is a call that is not track, even if it has a batch.
//   - An item that is not an object is rejected alone, as malformed.
//   - A record counts as one call, rejected as malformed, if its document is a string, number,
//     boolean, or null, is empty, starts with a byte-order mark, contains bytes that are not UTF-8,
//     nests deeper than 10,000, or is not JSON in any other way.
//   - A lone surrogate written as an escape (\ud800) is valid JSON (RFC 8259, section 8.2) and is
//     copied verbatim.
//
// Names are compared exactly, after unescaping. If a name is repeated, its last value counts, at
// every step of a path.
//
// # Where the time goes
//
// Package jsonscan validates a record and finds every field that the mapping needs, in one pass.
// The rules then look only at the bytes found. Its documentation describes what makes it fast. To
// measure the whole mapping:
//
//	go test ./transform -run '^$' -bench .
//
// The tests compare Append with a plain implementation of the same rules on encoding/json.
package transform

// Package transform maps Segment calls to LaunchDarkly custom events.
//
// The mapping is pure. Its input is bytes and a timestamp, and its output is bytes and outcomes.
// The package does no I/O, reads no clock, writes no log, and knows nothing about Kafka or HTTP.
// [Compile] validates a [Config] once and returns a [Mapping]. A [Transformer] of the mapping maps
// one record per call to [Transformer.Append].
//
// # Guarantees
//
//  1. Every call in a record yields exactly one [Call], which is an event or has a [Reason]. No
//     call is dropped without a reason.
//  2. The same record, timestamp, and Config always produce the same bytes and the same reasons.
//  3. Every event is valid JSON in valid UTF-8, regardless of the content of the record.
//  4. A rejected call does not affect the other calls in its record. A record is rejected as a
//     whole only if its document is invalid, or is neither an object nor an array.
//  5. Append allocates nothing for events and filtered calls once dst, calls, and the scratch space
//     are large enough.
//  6. Strings and numbers are copied verbatim, which preserves escapes, large integers, the digits
//     of numbers, and the order of names in properties.
//
// The package does not guarantee that LaunchDarkly counts an event. [Config.Contexts] describes the
// requirements.
//
// # Record formats
//
// A record contains one call (a JSON object), an array of calls, or an object that has no type and
// whose batch is an array of calls. Segment's libraries send the last format. A call in a batch
// inherits context and integrations from the top level of the batch, unless the call has a field of
// that name. A null field counts as present. A Confluent prefix (0x00 and a four-byte schema ID) is
// skipped.
//
//   - An empty array or an empty batch counts as one call, which is filtered as no_calls.
//   - An object without type in an array is filtered as not_track, even if it has a batch.
//   - An item that is not an object is rejected as malformed and does not affect the other items.
//   - A record counts as one call, which is rejected as malformed, if its document is a string, a
//     number, a boolean, null, or invalid. A document is invalid if it is empty, starts with a
//     byte-order mark, is not UTF-8, nests deeper than 10,000 levels, or is otherwise not JSON.
//   - A lone surrogate written as an escape (\ud800) is valid JSON (RFC 8259, section 8.2) and is
//     copied verbatim.
//
// Names are unescaped and then compared exactly. If an object repeats a name, the last value
// counts, at every level of a path.
//
// # Performance
//
// Package jsonscan validates a record and finds all fields that the mapping needs in one pass. Its
// documentation explains why it is fast. The rules of the mapping look only at the fields found. To
// measure the whole mapping, run:
//
//	go test ./transform -run '^$' -bench .
//
// The tests compare Append with a simple implementation of the same rules on top of encoding/json.
package transform

// Package transform maps Segment calls to LaunchDarkly custom events.
//
// The mapping is pure: it turns bytes and a timestamp into bytes and outcomes. The package does no
// I/O, reads no clock, writes no log, and does not depend on Kafka or HTTP. [Compile] validates a
// [Config] once and returns a [Mapping]. [Mapping.NewTransformer] returns a [Transformer]. Each
// invocation of [Transformer.Append] maps one record.
//
// # Guarantees
//
//  1. Every call in a record yields exactly one [Call], which is either an event or has a [Reason]
//     other than [None]. No call is dropped without a reason. The sections below describe when a
//     record or the content of an envelope counts as one call.
//  2. The same record, timestamp, and Config always produce the same bytes and the same reasons.
//  3. Every event is valid JSON in valid UTF-8, regardless of the record's content.
//  4. A rejected call does not affect the other calls in its record. An entire record is rejected
//     only if its value is compressed, or one of its documents is invalid or has the wrong type.
//  5. Append allocates nothing for events and filtered calls once dst, calls, and the scratch space
//     are large enough.
//  6. Strings, numbers, and properties are copied verbatim. Copying preserves escapes, all digits
//     of a number, and the order of names. There are two exceptions: a number that is an event name
//     or a key becomes a string, and a metric value in a string becomes a JSON number.
//
// The package does not guarantee that LaunchDarkly counts an event. [Config.Contexts] describes
// what LaunchDarkly requires.
//
// # Record formats
//
// A record contains one or more JSON documents, separated by white space. Each document is a call
// (a JSON object), an array of calls, or a batch. A batch is an object without a type whose batch
// field is an array of calls; Segment's libraries send this format. A call in a batch inherits
// context and integrations from the top level of the batch, unless it has its own. A null field
// counts as present.
//
// A document can also be an envelope, which contains such a document in one of its fields (see
// [Config.Unwrap] and [UnwrapAuto]). The content of an envelope is JSON, or a string of JSON or
// base64. Only one level is unwrapped. The items of an array are not unwrapped.
//
// A Confluent prefix (0x00 and a four-byte schema ID) and an AWS Glue prefix (0x03, 0x00, and a
// 16-byte schema ID) are skipped. Values compressed by AWS Glue (0x03, 0x05) are rejected as
// malformed.
//
//   - An object is filtered as not_a_call if its type is missing or is not a Segment call type.
//     This includes a batch in an array.
//   - An empty array or an empty batch counts as one call and is filtered as no_calls.
//   - A record without a value, or an envelope with null content, counts as one call and is
//     filtered as tombstone.
//   - An array item that is not an object is rejected as malformed and does not affect the other
//     items.
//   - An envelope with invalid content counts as one call and is rejected as malformed. The
//     record's other documents are not affected.
//   - A record counts as one call and is rejected as malformed if one of its documents is invalid,
//     or is neither an object, nor an array, nor a string that is unwrapped. A document is invalid
//     if it is empty, starts with a byte-order mark, is not UTF-8, nests deeper than 10,000 levels,
//     or is otherwise not valid JSON.
//   - A lone surrogate written as an escape (\ud800) is valid JSON (RFC 8259, section 8.2) and is
//     copied verbatim.
//
// Names are unescaped and then compared exactly, except that the name All in integrations is matched
// case-insensitively. If an object repeats a name, the last value counts. This rule applies at every
// level of a path.
//
// # Performance
//
// For most records, package jsonscan validates the record and finds the fields that the mapping
// needs in a single pass. The jsonscan documentation explains the design. The mapping rules then
// read only the fields found, and package coerce reads the times and numbers in these fields. To
// measure the whole mapping, run:
//
//	go test ./transform -run '^$' -bench .
//
// The tests compare Append with a simple implementation of the same rules based on encoding/json.
package transform

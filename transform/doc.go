// Package transform maps Segment calls to LaunchDarkly custom events.
//
// It is pure: bytes and a timestamp in, bytes and outcomes out. No I/O, no clock, no logging, no Kafka, no HTTP.
// [Compile] checks a [Config] once and makes a [Mapping] of it; a [Transformer] of the mapping then maps records, one
// [Transformer.Append] each.
//
// # What it guarantees
//
//  1. Every call of a record gets exactly one [Call]: an event, or a [Reason]. Nothing is dropped without one.
//  2. The same record, timestamp and Config give the same bytes and the same reasons, whenever and wherever.
//  3. Every event is valid JSON and valid UTF-8, whatever the record holds.
//  4. A call that is rejected does not touch its neighbours in the same record. Only a document that is not JSON
//     rejects the record as a whole.
//  5. Append allocates nothing for events and filtered calls, as long as dst and calls have room and the scratch space
//     has grown to the length of the records.
//  6. Strings and numbers are copied, never read and written again: escapes, large integers, the digits of a number
//     and the order of keys in properties survive.
//
// It does not guarantee that LaunchDarkly counts an event: see [Config.Contexts] for what has to agree.
//
// # Shapes of a record
//
// A record is one call (a JSON object), an array of calls, or an object without type whose batch is an array of calls;
// the last is what Segment's libraries send. The context and integrations at the top of a batch apply to each of its
// calls in which the name is absent; a null is not absent. A Confluent prefix (0x00 and a four-byte schema ID) is skipped.
//
//   - An array without calls, or a batch without calls, is one call, filtered: no_calls.
//   - In an array, an object without type is a call that is not track, even if it has a batch.
//   - An item that is not an object is rejected alone: malformed.
//   - A document that is a string, number, boolean or null, is empty, starts with a byte-order mark, holds bytes that are
//     not UTF-8, nests deeper than 10,000, or is not JSON in any other way, is one call for the whole record, rejected:
//     malformed.
//   - A lone surrogate written as an escape (\ud800) is JSON by its grammar (RFC 8259, section 8.2) and is copied as it is.
//
// Names are compared after unescaping, exactly. Of a repeated name the last one counts, at every step of a path.
//
// # Where the time goes
//
// Package jsonscan validates a record and finds every field that the mapping needs, in one pass. The
// rules then look only at the bytes found. Its documentation describes what makes it fast. To measure
// the whole mapping:
//
//	go test ./transform -run '^$' -bench .
//
// The tests compare Append with a plain implementation of the same rules on encoding/json.
package transform

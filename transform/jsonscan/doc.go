// Package jsonscan validates JSON documents and finds the values of a few fields in them.
//
// [Paths] collects the paths of the fields and compiles them once. A [Scanner] then validates each
// document and finds all fields in the same pass. [Scanner.Bytes] returns the value of a field as it
// stands in the document.
//
// # What it guarantees
//
//  1. A document passes if and only if it is valid JSON (RFC 8259) in valid UTF-8, and nests no deeper
//     than 10,000 arrays and objects. A lone surrogate written as an escape (\ud800) is valid JSON.
//  2. Names are compared after unescaping, exactly. If a name is repeated, its last value counts, at
//     every step of a path.
//  3. A Scanner allocates nothing for valid documents once its scratch space has grown to their length.
//  4. A document is never changed, and no error contains content of it.
//
// It does not convert values. A document must be in memory as a whole. A path cannot lead into an
// array, but [Scanner.Items] finds the fields of each item of one.
package jsonscan

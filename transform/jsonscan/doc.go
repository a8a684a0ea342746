// Package jsonscan validates JSON documents and finds the values of selected fields.
//
// [Paths] collects the field paths and compiles them once. A [Scanner] then validates each document
// and finds all fields in the same pass. [Scanner.Bytes] returns the value of a field verbatim.
//
// # Guarantees
//
//  1. Scan and Next accept a document if and only if the document is valid JSON (RFC 8259) in valid
//     UTF-8 and nests at most 10,000 levels deep. A lone surrogate written as an escape (\ud800) is
//     valid JSON.
//  2. Names are unescaped and then compared exactly. If an object repeats a name, the last value
//     counts. This rule applies at every level of a path.
//  3. Scan allocates nothing for a valid document once its scratch space is large enough.
//  4. Scan never changes a document, and errors contain no document content.
//
// A byte slice can contain several documents separated by white space (see [Scanner.Next]).
//
// The package does not convert values to Go types. The whole document must be in memory. A path
// cannot lead into an array, but [Scanner.Items] finds the fields in each array item.
//
// # Speed
//
// The benchmarks compare Scan with parsers that only validate and with gjson, which can also look
// up fields. To run them:
//
//	go -C compare test -run '^$' -bench .
//
// The documents are generated Segment calls with a median size of 0.8 KB. The results are medians
// of the CPU time in alternating runs on amd64. jsontext takes 2.2 times as long as Scan. gjson,
// which does not check UTF-8, takes 2.1 times as long to validate, and 11 times as long if it also
// looks up the fields.
//
// Two complex parts of the code account for much of the speed:
//
//   - Without the AVX2 code for the structural bitmap (bitmap_amd64.s), BenchmarkAppend in package
//     transform takes 39 to 45% more CPU time. The bitmap is then built from eight bytes at a time,
//     as on other architectures.
//   - Without separators (separators.go, used in skip and object), BenchmarkAppend takes 12 to 15%
//     more CPU time. Removing only one of the two uses makes the scan 4 to 9% slower.
//
// The design follows from these observations:
//
//   - A Segment call contains about forty short strings. A loop over the bytes of each string, even
//     eight at a time, often mispredicts its exit. Building a bitmap costs less than these
//     mispredictions, and the bitmap shows the end of most strings in one step.
//   - Only a few byte sequences occur between these strings. One comparison validates an entire
//     sequence.
//   - The search for the next string depends on the end of the previous one through a load, a
//     shift, a bit count, and an addition. To shorten this chain, skip finds several strings in one
//     window of the bitmap. In object, where registers are scarce, only a name and its value share
//     a window.
//   - The inner loops call no functions on the common path, because Go preserves no registers
//     across a call. Small inlined functions return a single bool, byte, or number. The compiler
//     folds one result into the caller's branches, but not two.
//   - In window, a three-index slice of constant length avoids the compiler's check for empty
//     slices.
//
// These optimizations were tried, but did not justify the added code:
//
//   - parsing numbers eight digits at a time
//   - parsing times eight digits at a time, which saves 4 to 5% of BenchmarkAppend but takes 63
//     lines
//   - storing the last bytes of a name in the table, next to its first bytes
//   - using aligned loads for the bitmap
//
// Building with GOAMD64=v3 saves 4%, and profile-guided optimization saves 0 to 7%. These gains
// come from build options and require no code.
package jsonscan

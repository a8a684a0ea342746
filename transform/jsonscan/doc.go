// Package jsonscan validates JSON documents and finds the values of a few fields in them.
//
// [Paths] collects the paths of the fields and compiles them once. A [Scanner] then validates each
// document and finds all fields in the same pass. [Scanner.Bytes] returns the value of a field
// verbatim.
//
// # Guarantees
//
//  1. Scan accepts a document if and only if the document is valid JSON (RFC 8259) in valid UTF-8
//     and nests at most 10,000 levels deep. A lone surrogate written as an escape (\ud800) is valid
//     JSON.
//  2. Names are unescaped and then compared exactly. If an object repeats a name, the last value
//     counts, at every level of a path.
//  3. Scan allocates nothing for a valid document once the scratch space has grown to the
//     document's size.
//  4. Scan never changes a document, and no error contains content of a document.
//
// The package does not convert values. A document must be in memory as a whole. A path cannot lead
// into an array, but [Scanner.Items] finds the fields of each item of an array.
//
// # Speed
//
// The benchmarks compare Scan with parsers that only validate, and with gjson, which can also look
// up the fields. To run them:
//
//	go test ./transform/jsonscan -run '^$' -bench .
//
// On generated Segment calls with a median size of 0.8 KB (amd64, CPU time, medians of alternating
// runs), jsontext takes 2.2 times as long as Scan. gjson, which does not check UTF-8, takes 2.1
// times as long to validate and 11 times as long with the lookups.
//
// Two complex parts of the code account for much of the speed:
//
//   - Without the AVX2 code for the structural bitmap (bitmap_amd64.s), BenchmarkAppend of package
//     transform takes 39 to 45% more CPU time. The same bitmap is then built from eight bytes at a
//     time, as on other architectures.
//   - Without separators (separators.go, used in skip and object), it takes 12 to 15% more. Removing
//     either use alone makes the scan 4 to 9% slower.
//
// Reasons for the design:
//
//   - A Segment call consists of about forty short strings. A loop over the bytes of each string,
//     even eight at a time, often mispredicts its exit. Building a bitmap costs less than these
//     mispredictions, and the bitmap finds the end of most strings in one step.
//   - Only a few different byte sequences occur between those strings. One comparison validates
//     each of them.
//   - The search for the next string depends on the end of the previous one through a load, a
//     shift, a count, and an addition. Method skip therefore finds several strings in one window of
//     the bitmap. In method object, where registers are scarce, only a name and its value share a
//     window.
//   - The inner loops call no functions on the common path, because Go keeps no registers across a
//     call. Small inlined functions return a single bool, byte, or number, because the compiler
//     folds one result into the branches of the caller, but not two.
//   - Slicing with three indexes at a constant distance (window) avoids the compiler's check for
//     empty slices.
//
// These optimizations were tried and did not justify their code:
//
//   - parsing numbers eight digits at a time
//   - parsing times eight digits at a time, which saves 4 to 5% of BenchmarkAppend with 63 lines
//   - storing the last bytes of a name in the table, next to its first bytes
//   - loading the bitmap aligned
//
// GOAMD64=v3 saves 4%, and profile-guided optimization saves 0 to 7%. Both are choices of the
// build.
package jsonscan

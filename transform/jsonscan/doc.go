// Package jsonscan validates JSON documents and finds the values of a few fields in them.
//
// [Paths] collects the paths of the fields and compiles them once. A [Scanner] then validates each
// document and finds all fields in the same pass. [Scanner.Bytes] returns the value of a field as
// it stands in the document.
//
// # What it guarantees
//
//  1. Scan accepts a document if and only if it is valid JSON (RFC 8259) in valid UTF-8 and nests
//     at most 10,000 deep. A lone surrogate written as an escape (\ud800) is valid JSON.
//  2. Names are compared exactly, after unescaping. If a name is repeated, its last value counts,
//     at every step of a path.
//  3. Scan allocates nothing for a valid document once the scratch space has grown to its length.
//  4. Scan never changes a document, and no error contains content of one.
//
// It does not convert values. A document must be in memory as a whole. A path cannot lead into an
// array, but [Scanner.Items] finds the fields of each item of an array.
//
// # Speed
//
// The benchmarks compare Scan with parsers that only validate, and with gjson, which also looks the
// fields up:
//
//	go test ./transform/jsonscan -run '^$' -bench .
//
// On generated Segment calls with a median of 0.8 KB (amd64, CPU time, medians of alternating
// runs), jsontext takes 2.2 times as long as Scan. gjson, which does not check UTF-8, takes 2.1
// times as long to validate and 11 times as long with the lookups.
//
// This is what the hard parts are worth. Without each of them, BenchmarkAppend of package transform
// takes this much more CPU time:
//
//   - The structural bitmap by AVX2 (bitmap_amd64.s): 39 to 45%. The same bitmap is then made from
//     eight bytes at a time, as on other architectures.
//   - Separators (separators.go, and their use in skip and object): 12 to 15%. Without only one of
//     the two uses, it takes 4 to 9% more.
//
// Why the code is as it is:
//
//   - A Segment call consists of some forty short strings. A loop over the bytes of each string,
//     even eight at a time, often mispredicts its exit. Making a bitmap costs less than these
//     mispredictions, and the bitmap leads to the end of most strings in one step.
//   - Few different byte sequences occur between those strings. One comparison validates each of
//     them.
//   - The search for the next string depends on the end of the previous one through a load, a
//     shift, a count, and an addition. Method skip therefore takes several strings from one window
//     of the bitmap. In object, where registers are scarce, only a name and its value share a
//     window.
//   - The inner loops call no function on the usual path, because Go keeps no registers across a
//     call. Small inlined functions return one bool, byte, or number, which the compiler folds into
//     the branches of the caller. It does not do so for two results.
//   - Slicing with three indexes at a constant distance (window) avoids the compiler's guard for
//     empty slices.
//
// Not worth their lines: digits of numbers, eight at a time; times, eight digits at a time (4 to 5%
// of BenchmarkAppend for 63 lines); the last bytes of a name next to its first bytes in the table;
// aligned loads of the bitmap. GOAMD64=v3 (4%) and profile-guided optimization (0 to 7%) are up to
// those who build a program.
package jsonscan

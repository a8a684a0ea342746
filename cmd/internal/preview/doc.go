// Package preview shows how the records in a topic are mapped. It reads the records without a
// consumer group, and sends and commits nothing. The caller maps the records.
//
// [Read] reads records, a [Summary] counts their calls, and [SideBySide] shows a call next to its
// event. Values of properties and user keys appear only in SideBySide, never in a Summary.
package preview

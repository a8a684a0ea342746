package transform

import (
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Transformer maps records. Its scratch space grows to about a quarter of the longest record's
// size. A Transformer is not safe for concurrent use.
type Transformer struct {
	m    *Mapping
	scan *jsonscan.Scanner
}

// Call is the result of mapping one Segment call.
type Call struct {
	Reason Reason // None if the call is an event
	Detail string // why the call was rejected; contains no record data
	End    int    // length of dst after the call's event and comma, if any
}

// NewTransformer returns a Transformer that uses m.
func (m *Mapping) NewTransformer() *Transformer {
	return &Transformer{m, m.fields.NewScanner()}
}

// Append maps one record. value is the record's value, or nil for a tombstone. timestamp is the
// record's timestamp in Unix milliseconds. Append appends each event and a comma to dst, so that
// the events of successive records form the contents of a JSON array. It also appends one Call to
// calls for each call in the record, in order. It does not retain value, dst, or calls.
func (t *Transformer) Append(dst []byte, calls []Call, value []byte, timestamp int64) ([]byte, []Call) {
	return t.AppendOnly(dst, calls, value, timestamp, -1)
}

// AppendOnly is like Append, but maps only the call with index only, or all calls if only is -1. If
// the record has no such call, AppendOnly appends one rejected Call. It also appends one Call,
// regardless of only, if the record is a tombstone, contains no calls, or is rejected entirely.
func (t *Transformer) AppendOnly(dst []byte, calls []Call, value []byte, timestamp int64, only int) ([]byte, []Call) {
	before := len(calls)
	var r record // assigned field by field, because the compiler would build a literal twice
	r.dst, r.calls, r.value, r.timestamp, r.only = dst, calls, value, timestamp, only
	if err := t.document(&r); err != nil {
		// Discard the calls mapped before the scan found the error.
		r.dst, r.calls = dst, calls
		r.add(Malformed, err.Error())
	}
	if only >= 0 && len(r.calls) == before {
		r.add(Malformed, fmt.Sprintf("the record has no call with index %d", only))
	}
	t.scan.Reset()
	return r.dst, r.calls
}

// record is the state of one call to Append.
type record struct {
	dst       []byte
	calls     []Call
	value     []byte
	timestamp int64
	only      int // index of the call to map; -1 for all calls
}

// add appends the result of one call.
func (r *record) add(reason Reason, detail string) {
	r.calls = append(r.calls, Call{reason, detail, len(r.dst)})
}

// wants reports whether the call with index i must be mapped.
func (r *record) wants(i int) bool {
	return r.only < 0 || r.only == i
}

package transform

import (
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Transformer maps records. It holds scratch space, which grows to about a quarter of the longest
// record. One goroutine at a time can use a Transformer.
type Transformer struct {
	m    *Mapping
	scan *jsonscan.Scanner
}

// Call is the result for one call of a record.
type Call struct {
	Reason Reason // None: the call is an event
	Detail string // of a rejected call: what is wrong, by field, position, and JSON type; never content of the record
	End    int    // of an event: the index in dst just past it and its comma; otherwise len(dst) at that time
}

// NewTransformer returns a Transformer for one goroutine.
func (m *Mapping) NewTransformer() *Transformer {
	return &Transformer{m, m.fields.NewScanner()}
}

// Append maps one record. It appends each event and a comma to dst, so that the events of
// successive records form the inside of a JSON array. It appends one Call per call of the record to
// calls, in order. value is the record's value, nil for a tombstone. timestamp is the record's
// timestamp in Unix milliseconds. Append retains none of value, dst, and calls.
func (t *Transformer) Append(dst []byte, calls []Call, value []byte, timestamp int64) ([]byte, []Call) {
	return t.AppendOnly(dst, calls, value, timestamp, -1)
}

// AppendOnly is Append for the call with the given index, or for all calls if only is -1. If the
// record holds no such call, one rejected Call says so. A record that is a tombstone, has no calls,
// or is not JSON gives one Call regardless of only.
func (t *Transformer) AppendOnly(dst []byte, calls []Call, value []byte, timestamp int64, only int) ([]byte, []Call) {
	before := len(calls)
	var r record // set field by field: a literal would be built twice
	r.dst, r.calls, r.value, r.timestamp, r.only = dst, calls, value, timestamp, only
	if err := t.document(&r); err != nil {
		// Some calls may have been mapped before the scan found the error.
		r.dst, r.calls = dst, calls
		r.add(Malformed, err.Error())
	}
	if only >= 0 && len(r.calls) == before {
		r.add(Malformed, fmt.Sprintf("the record holds no call %d", only))
	}
	t.scan.Reset()
	return r.dst, r.calls
}

// record is the state of one Append.
type record struct {
	dst       []byte
	calls     []Call
	value     []byte
	timestamp int64
	only      int // -1: all calls
}

func (r *record) add(reason Reason, detail string) {
	r.calls = append(r.calls, Call{reason, detail, len(r.dst)})
}

// wants reports whether the i-th call of the record is to be mapped.
func (r *record) wants(i int) bool {
	return r.only < 0 || r.only == i
}

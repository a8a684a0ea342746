package transform

import (
	"bytes"
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform/coerce"
	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Transformer maps records. Its scratch space grows to about a quarter of the longest record's
// size, or to about twice the size of the longest content unwrapped from a string. A Transformer is
// not safe for concurrent use.
type Transformer struct {
	m       *Mapping
	scan    *jsonscan.Scanner // for the current document
	outer   *jsonscan.Scanner // for envelopes in documents that are not calls; nil if none are known
	inner   *jsonscan.Scanner // for the content of envelopes
	decoded []byte            // the last base64 content
	coerce  *coerce.Reader
	ids     *idList // for lists of consent IDs; nil if consent is not required
	scratch []byte  // copy of the last unusual call type in lower case, with quotes
}

// Record is a record to map.
type Record struct {
	Value     []byte // nil for a tombstone
	Timestamp int64  // Unix milliseconds

	// Conditions on the topic and on headers use the fields below.
	Topic  string
	Header func(name string) (value []byte, ok bool) // nil if the record has no headers
}

// Call is the result of mapping one Segment call.
type Call struct {
	Reason Reason // None if the call is an event
	Detail string // why the call was rejected; contains no record data
	End    int    // length of dst after the call's event and comma, if any

	// HasMetricValue is true for an event that has a metric value.
	HasMetricValue bool

	// NoMetricValue is true for an event that has no metric value although a path in
	// Config.MetricValue leads to a value other than null.
	NoMetricValue bool

	// RecordTime is true for an event whose creationDate is the record's timestamp, because no
	// field of the call contains a readable time.
	RecordTime bool
}

// Explained is one call with the result of mapping it.
type Explained struct {
	Call
	Source []byte // the call, verbatim; nil if it is not an object
	Event  []byte // the event without its comma; nil if there is none
}

// NewTransformer returns a Transformer that uses m.
func (m *Mapping) NewTransformer() *Transformer {
	t := &Transformer{m: m, scan: m.fields.NewScanner(), inner: m.fields.NewScanner()}
	t.coerce = coerce.NewReader(t.inner.Text)
	if m.others != nil {
		t.outer = m.others.fields.NewScanner()
	}
	if m.consent != nil {
		t.ids = newIDList()
	}
	return t
}

// Append maps one record. It appends each event and a comma to dst, so that the events of
// successive records form the contents of a JSON array. It also appends one Call to calls for each
// call in the record, in order. It does not retain the record, dst, or calls.
func (t *Transformer) Append(dst []byte, calls []Call, source Record) ([]byte, []Call) {
	return t.AppendOnly(dst, calls, source, -1)
}

// AppendOnly is like Append, but maps a single call, whose index is the last argument. If this
// argument is -1, AppendOnly maps all calls. If the record has no call with this index, or is
// rejected as a whole, AppendOnly appends one rejected Call.
func (t *Transformer) AppendOnly(dst []byte, calls []Call, source Record, only int) ([]byte, []Call) {
	var r record // assigned field by field, because the compiler would build a literal twice
	r.dst, r.calls, r.Record, r.only = dst, calls, source, only
	t.mapRecord(&r)
	return r.dst, r.calls
}

// mapRecord maps one record and releases it.
func (t *Transformer) mapRecord(r *record) {
	dst, calls := r.dst, r.calls
	if t.m.filters != nil {
		r.selected = t.m.filters.selectsRecord(&r.Record)
	}
	if err := t.record(r); err != nil {
		// Discard the calls mapped before the scan found the error.
		r.dst, r.calls, r.sources = dst, calls, nil
		r.add(Call{Reason: Malformed, Detail: err.Error()}, nil)
	}
	if r.only >= 0 && len(r.calls) == len(calls) {
		r.add(Call{Reason: Malformed, Detail: fmt.Sprintf("the record has no call with index %d", r.only)}, nil)
	}
	t.scan.Reset()
	if t.outer != nil {
		t.outer.Reset()
	}
}

// Explain maps one record like Append, and returns each call with its source and its event. It is
// slower than Append, and is meant for showing people how their records are mapped.
func (t *Transformer) Explain(source Record) []Explained {
	r := record{Record: source, only: -1, explain: true}
	t.mapRecord(&r)
	explained := make([]Explained, len(r.calls))
	start := 0
	for i, call := range r.calls {
		explained[i] = Explained{Call: call, Source: r.sources[i]}
		if call.Reason == None {
			explained[i].Event = r.dst[start : call.End-1]
		}
		start = call.End
	}
	return explained
}

// record is the state of mapping one record.
type record struct {
	Record
	dst      []byte
	calls    []Call
	only     int    // index of the call to map; -1 for all calls
	index    int    // index of the next call
	path     string // path of the content being mapped, with a colon; "" outside of envelopes
	offset   int    // start of the documents being mapped, within the value or the envelope's content
	explain  bool
	sources  [][]byte // sources of the calls, if explain is true
	selected bool     // the conditions on the topic and the headers hold; unset if there are no filters
}

// next advances the index past a call and reports whether to map that call.
func (r *record) next() bool {
	r.index++
	return r.only < 0 || r.only == r.index-1
}

// skip adds the next call, which is filtered or rejected. If r.only selects another call, skip adds
// nothing.
func (r *record) skip(reason Reason, detail string) {
	if r.next() {
		r.add(Call{Reason: reason, Detail: detail}, nil)
	}
}

// add appends the result of one call. source is the call, or nil if it is not an object.
func (r *record) add(c Call, source []byte) {
	c.End = len(r.dst)
	r.calls = append(r.calls, c)
	if r.explain {
		r.sources = append(r.sources, bytes.Clone(source))
	}
}

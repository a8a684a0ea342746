package transform

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Transformer maps records. It holds scratch space: one goroutine at a time.
type Transformer struct {
	m *Mapping

	spans   []span // by slot: where the values of the present call are
	base    []span // by slot: what the calls of the present batch inherit; zero outside a batch
	stack   []byte // open arrays and objects, see skip
	scratch []byte // an unescaped string
	tooDeep bool   // the scan failed because of maxDepth
}

// span is where a value is in the record; the zero span is an absent value.
type span struct{ start, end int }

// Call is what became of one call of a record.
type Call struct {
	Reason Reason // None: the call is an event
	Detail string // of a rejected call: what is wrong, by field, position and JSON type; never content of the call
	End    int    // of an event: the index in dst just past it and its comma; otherwise len(dst) at that time
}

// NewTransformer returns a Transformer for one goroutine.
func (m *Mapping) NewTransformer() *Transformer {
	return &Transformer{m: m, spans: make([]span, m.root.end), base: make([]span, m.root.end)}
}

// Append maps one record. It appends each event to dst, followed by a comma, so that the events of successive records
// form the inside of a JSON array; and to calls one Call for each call, in order. value is the record's value, nil for
// a tombstone; timestamp the record's, in Unix milliseconds. Nothing of value, dst and calls is retained.
func (t *Transformer) Append(dst []byte, calls []Call, value []byte, timestamp int64) ([]byte, []Call) {
	return t.AppendOnly(dst, calls, value, timestamp, nil)
}

// AppendOnly is Append for some calls of a record: those whose index is in only, which is in ascending order. The others
// get no Call. A nil only stands for all. What concerns a record as a whole (it is a tombstone, has no calls, or is not
// JSON) is its one Call, whatever only says.
func (t *Transformer) AppendOnly(dst []byte, calls []Call, value []byte, timestamp int64, only []int) ([]byte, []Call) {
	r := record{dst, calls, value, timestamp, only}
	if end := t.document(&r); end < 0 {
		// Part of the record may have been mapped before the scan came to where it is invalid.
		r.dst, r.calls = dst, calls
		r.add(Malformed, t.explain(value, ^end))
	}
	return r.dst, r.calls
}

// record is the state of one Append.
type record struct {
	dst       []byte
	calls     []Call
	value     []byte
	timestamp int64
	only      []int
}

func (r *record) add(reason Reason, detail string) {
	r.calls = append(r.calls, Call{reason, detail, len(r.dst)})
}

// wants says whether the i-th call of the record is to be mapped.
func (r *record) wants(i int) bool {
	if r.only == nil {
		return true
	}
	_, found := slices.BinarySearch(r.only, i)
	return found
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// document maps the record's document. It returns a negative number if that is invalid, see scan.go.
func (t *Transformer) document(r *record) int {
	b, p := r.value, 0
	if b == nil {
		r.add(Tombstone, "")
		return 0
	}
	if len(b) >= 5 && b[0] == 0 {
		p = 5 // Confluent's wire format: a zero byte and a four-byte schema ID
	}
	if bytes.HasPrefix(b[p:], byteOrderMark) {
		return ^p
	}
	p = space(b, p)
	if p == len(b) {
		return ^p
	}
	clear(t.base)
	start := p
	switch b[p] {
	case '{':
		clear(t.spans)
		p = t.object(b, p, t.m.root, 0)
	case '[':
		p = t.items(r, p)
	default:
		p = t.skip(b, p, 0)
	}
	if p < 0 {
		return p
	}
	if p = space(b, p); p < len(b) {
		return ^p
	}

	switch b[start] {
	case '[':
	case '{':
		batch := t.raw(b, t.m.batch)
		if batch == nil || batch[0] != '[' || t.raw(b, t.m.typ) != nil {
			if r.wants(0) {
				t.call(r)
			}
			break
		}
		for _, n := range t.m.inherited {
			copy(t.base[n.slot:n.end], t.spans[n.slot:n.end])
		}
		t.items(r, t.spans[t.m.batch.slot].start)
	default:
		r.add(Malformed, fmt.Sprintf("the document is %s; expected an object or an array", jsonType(b[start:])))
	}
	return p
}

// items maps the calls in the array that opens at value[p], and returns the index just past it.
func (t *Transformer) items(r *record, p int) int {
	b := r.value
	p = space(b, p+1)
	if p < len(b) && b[p] == ']' {
		r.add(NoCalls, "")
		return p + 1
	}
	for i := 0; ; i++ {
		p = space(b, p)
		start := p
		wanted := r.wants(i)
		if wanted && p < len(b) && b[p] == '{' {
			copy(t.spans, t.base)
			p = t.object(b, p, t.m.root, 1)
		} else {
			p = t.skip(b, p, 1)
		}
		if p < 0 {
			return p
		}
		switch {
		case !wanted:
		case b[start] == '{':
			t.call(r)
		default:
			r.add(Malformed, fmt.Sprintf("byte %d: the item is %s; expected an object", start, jsonType(b[start:])))
		}

		p = space(b, p)
		switch {
		case p < len(b) && b[p] == ',':
			p++
		case p < len(b) && b[p] == ']':
			return p + 1
		default:
			return ^p
		}
	}
}

// object validates the object that opens at b[p], within depth arrays and objects, and notes the spans of the values
// that n and the nodes below it stand for. It returns like skip. It recurses only along configured paths.
func (t *Transformer) object(b []byte, p int, n *node, depth int) int {
	if depth >= maxDepth {
		t.tooDeep = true
		return ^p
	}
	p = space(b, p+1)
	if p < len(b) && b[p] == '}' {
		return p + 1
	}
	for {
		p = space(b, p)
		if p >= len(b) || b[p] != '"' {
			return ^p
		}
		child, q := t.name(b, p+1, n)
		if q < 0 {
			return q
		}
		p = space(b, q)
		if p >= len(b) || b[p] != ':' {
			return ^p
		}
		p = space(b, p+1)
		start := p
		if child != nil {
			clear(t.spans[child.slot:child.end]) // a repeated name: forget the earlier one, and what was found in it
		}
		if child != nil && child.table != nil && p < len(b) && b[p] == '{' {
			p = t.object(b, p, child, depth+1)
		} else {
			p = t.skip(b, p, depth+1)
		}
		if p < 0 {
			return p
		}
		if child != nil {
			t.spans[child.slot] = span{start, p}
		}

		p = space(b, p)
		switch {
		case p < len(b) && b[p] == ',':
			p++
		case p < len(b) && b[p] == '}':
			return p + 1
		default:
			return ^p
		}
	}
}

// name validates a name, whose first byte after the quote is b[p], and returns n's child of that name, if any.
func (t *Transformer) name(b []byte, p int, n *node) (*node, int) {
	end := str(b, p)
	if end < 0 {
		return nil, end
	}
	name := t.text(b[p-1 : end])
	return n.child(head(name), name), end
}


// raw returns the value found for n as it stands in the record, or nil if it is absent.
func (t *Transformer) raw(b []byte, n *node) []byte {
	s := t.spans[n.slot]
	if s.end == 0 {
		return nil
	}
	return b[s.start:s.end]
}

// explain says what is wrong with a document at byte p.
func (t *Transformer) explain(b []byte, p int) string {
	tooDeep := t.tooDeep
	t.tooDeep = false
	switch {
	case len(b) == 0:
		return "the value is empty"
	case p == len(b):
		return fmt.Sprintf("byte %d: the document ends too early", p)
	case tooDeep:
		return fmt.Sprintf("byte %d: nested deeper than %d", p, maxDepth)
	case bytes.HasPrefix(b[p:], byteOrderMark):
		return fmt.Sprintf("byte %d: a byte-order mark", p)
	case b[p] < ' ':
		return fmt.Sprintf("byte %d: a control character", p)
	}
	if r, size := utf8.DecodeRune(b[p:]); r == utf8.RuneError && size == 1 {
		return fmt.Sprintf("byte %d: not UTF-8", p)
	}
	return fmt.Sprintf("byte %d: not JSON", p)
}

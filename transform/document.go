package transform

import (
	"errors"
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// record maps the calls in the record's value. It returns an error if the value is invalid. The
// reference implementation in reference_test.go repeats these rules.
func (t *Transformer) record(r *record) error {
	b := r.Value
	switch {
	case b == nil:
		r.skip(Tombstone, "")
		return nil
	case len(b) == 0:
		return errors.New("the value is empty")
	case len(b) >= glueHeader && b[0] == 3 && b[1] == 5:
		return errors.New("the value is compressed by AWS Glue's serializer, which is not supported")
	}
	r.offset = prefixLength(b)
	document, err := t.scan.Scan(b[r.offset:], t.item(r))

	// Most records are a single call. The mapping takes 2% less time if this case is handled first.
	if err == nil && document[0] == '{' && !t.scan.More() {
		if typ := t.callType(); typ != notACall && !t.hasContent() {
			t.call(r, document, typ)
			return nil
		}
	}
	return t.documents(r, 0, document, err, true)
}

// glueHeader is the length of AWS Glue's header: a version byte, a compression byte, and a
// 16-byte schema ID.
const glueHeader = 18

// prefixLength returns the length of the prefix that a schema registry's serializer wrote, or 0 if
// there is none.
func prefixLength(b []byte) int {
	switch {
	case len(b) >= 5 && b[0] == 0: // Confluent's wire format: a zero byte and a four-byte schema ID
		return 5
	case len(b) >= glueHeader && b[0] == 3 && b[1] == 0:
		return glueHeader
	}
	return 0
}

// item returns a function that maps one array item. t.scan calls the function for each item.
func (t *Transformer) item(r *record) func(offset int, value []byte) {
	return func(offset int, value []byte) {
		if value[0] == '{' {
			t.call(r, value, t.callType())
		} else {
			r.skip(Malformed, fmt.Sprintf("%sbyte %d: %s", r.path, r.offset+offset, itemIs[typeOf(value)]))
		}
	}
}

// documents maps the calls in one or more documents. document and err are the result of scanning
// the first document, and first is the index of that document's first call. If unwrap is true, a
// document can be an envelope.
func (t *Transformer) documents(r *record, first int, document []byte, err error, unwrap bool) error {
	item := t.item(r)
	before := first
	for ; document != nil; document, err = t.scan.Next(item) {
		switch document[0] {
		case '{':
			t.object(r, document, item, unwrap)
		case '[':
			if r.index == before {
				r.skip(NoCalls, "")
			}
		case '"':
			if unwrap && t.m.unwrapStrings && len(document) > 2 {
				t.unwrapped(r, "the string", t.scan.Text(document))
				break
			}
			fallthrough
		default:
			// A text such as "17 4 2" is one invalid record instead of many rejected calls.
			if r.index > first || t.scan.More() {
				return errors.New(documentIs[typeOf(document)] + ", next to other documents")
			}
			r.skip(Malformed, r.path+documentIs[typeOf(document)])
		}
		before = r.index
	}
	if err != nil {
		if syntax, ok := errors.AsType[*jsonscan.SyntaxError](err); ok {
			syntax.Offset += r.offset
		}
	}
	return err
}

// object maps the calls in a document that is an object.
func (t *Transformer) object(r *record, document []byte, item func(int, []byte), unwrap bool) {
	typ := t.callType()
	if unwrap && (typ == notACall || t.hasContent()) {
		if e, scan := t.envelope(document, typ); e != nil {
			t.unwrap(r, e, scan)
			return
		}
	}
	batch := t.scan.Bytes(t.m.batch)
	if !has(batch, "[") || t.scan.Bytes(t.m.typ) != nil {
		t.call(r, document, typ)
		return
	}
	before := r.index
	t.scan.Items(t.m.batch, t.m.inherited, item)
	if r.index == before {
		r.skip(NoCalls, "")
	}
}

var jsonTypes = [...]string{
	"absent", "null", "a boolean", "a number", "an empty string", "a string", "an array", "an object",
}

// These details describe a value's type and are indexed by the result of typeOf. The arrays are
// built once to avoid an allocation per rejected call.
var (
	documentIs   = details("the document")
	itemIs       = details("the item")
	eventIs      = details("event")
	propertiesIs = details("properties")
)

func details(subject string) (d [len(jsonTypes)]string) {
	for i, name := range jsonTypes {
		d[i] = subject + " is " + name
	}
	return d
}

// typeOf returns the index of a value's type in jsonTypes. raw is nil if the value is absent.
func typeOf(raw []byte) int {
	if len(raw) == 0 {
		return 0
	}
	switch raw[0] {
	case 'n':
		return 1
	case 't', 'f':
		return 2
	case '"':
		if raw[1] == '"' {
			return 4
		}
		return 5
	case '[':
		return 6
	case '{':
		return 7
	default:
		return 3
	}
}

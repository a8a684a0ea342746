package transform

import (
	"errors"
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// document maps the calls in a record. It returns an error if the record's document is invalid. The
// reference implementation in reference_test.go repeats these rules.
func (t *Transformer) document(r *record) error {
	if r.value == nil {
		r.add(Tombstone, "")
		return nil
	}
	b, prefix := r.value, 0
	if len(b) >= 5 && b[0] == 0 { // Confluent's wire format: a zero byte and a four-byte schema ID
		prefix = 5
		b = b[prefix:]
	}
	calls := 0
	item := func(offset int, value []byte) {
		calls++
		switch {
		case !r.wants(calls - 1):
		case value[0] == '{':
			t.call(r)
		default:
			r.add(Malformed, fmt.Sprintf("byte %d: %s", prefix+offset, itemIs[typeOf(value)]))
		}
	}
	document, err := t.scan.Scan(b, item)
	if err != nil {
		return explain(err, r.value, prefix)
	}

	switch document[0] {
	case '{':
		if batch := t.scan.Bytes(t.m.batch); t.scan.Bytes(t.m.typ) == nil && batch != nil && batch[0] == '[' {
			t.scan.Items(t.m.batch, t.m.inherited, item)
			break
		}
		if r.wants(0) {
			t.call(r)
		}
		return nil
	case '[':
	default:
		r.add(Malformed, documentIs[typeOf(document)])
		return nil
	}
	if calls == 0 {
		r.add(NoCalls, "")
	}
	return nil
}

// explain adapts an error from Scan for a record whose document begins after prefix bytes.
func explain(err error, value []byte, prefix int) error {
	if len(value) == 0 {
		return errors.New("the value is empty")
	}
	if syntax, ok := errors.AsType[*jsonscan.SyntaxError](err); ok {
		syntax.Offset += prefix
	}
	return err
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

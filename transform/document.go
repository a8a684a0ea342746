package transform

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// document maps the record's document. It returns a negative number if that is invalid: see scanner.
func (t *Transformer) document(r *record) int {
	b, p := r.value, 0
	if b == nil {
		r.add(Tombstone, "")
		return 0
	}
	if len(b) >= 5 && b[0] == 0 {
		p = 5 // Confluent's wire format: a zero byte and a four-byte schema ID
	}
	t.begin(b)
	start := space(b, p)
	switch at(b, start) {
	case '{':
		clear(t.spans)
		p = t.object(start, t.m.root, 0)
	case '[':
		p = t.items(r, start)
	default:
		p = t.skip(start, 0)
	}
	if p < 0 {
		return p
	}
	if p = space(b, p); p < len(b) {
		return ^p
	}

	switch b[start] {
	case '{':
		if batch := t.raw(t.m.batch); t.raw(t.m.typ) != nil || batch == nil || batch[0] != '[' {
			if r.wants(0) {
				t.call(r)
			}
			break
		}
		for _, n := range t.m.inherited {
			copy(t.base[n.slot:n.end], t.spans[n.slot:n.end])
		}
		t.items(r, t.spans[t.m.batch.slot].start)
		clear(t.base)
	case '[':
	default:
		r.add(Malformed, documentIs[typeOf(b[start:])])
	}
	return p
}

// items maps the calls in the array that opens at b[p]. It returns like skip.
func (t *Transformer) items(r *record, p int) int {
	b := t.b
	if p = space(b, p+1); is(b, p, ']') {
		r.add(NoCalls, "")
		return p + 1
	}
	for i := 0; ; i++ {
		start := space(b, p)
		isObject, wanted := is(b, start, '{'), r.wants(i)
		if isObject && wanted {
			copy(t.spans, t.base)
			p = t.object(start, t.m.root, 1)
		} else {
			p = t.skip(start, 1)
		}
		switch {
		case p < 0:
			return p
		case !wanted:
		case isObject:
			t.call(r)
		default:
			r.add(Malformed, fmt.Sprintf("byte %d: %s", start, itemIs[typeOf(b[start:])]))
		}

		switch p = space(b, p); at(b, p) {
		case ',':
			p++
		case ']':
			return p + 1
		default:
			return ^p
		}
	}
}

const byteOrderMark = "\xef\xbb\xbf"

// explain says what is wrong with the document b at byte p.
func (t *Transformer) explain(b []byte, p int) string {
	what := "not JSON"
	rest := string(b[p:min(p+utf8.UTFMax, len(b))])
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case len(b) == 0:
		return "the value is empty"
	case rest == "":
		what = "the document ends too early"
	case t.tooDeep:
		what = fmt.Sprintf("nested deeper than %d", maxDepth)
	case strings.HasPrefix(rest, byteOrderMark):
		what = "a byte-order mark"
	case r == utf8.RuneError && size == 1:
		what = "not UTF-8"
	}
	return fmt.Sprintf("byte %d: %s", p, what)
}

var jsonTypes = [...]string{"absent", "null", "a boolean", "a number", "an empty string", "a string", "an array", "an object"}

// Details that tell the type of a value, by typeOf; made here once, so that they cost nothing later.
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

// typeOf returns the index in jsonTypes of the value that raw begins with.
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

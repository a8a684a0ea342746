package jsonscan

import (
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"
)

// maxDepth is the maximum nesting depth of arrays and objects. encoding/json has the same limit.
const maxDepth = 10_000

// Scanner scans one document at a time. Its scratch space grows to about a quarter of the longest
// document's size. A Scanner is not safe for concurrent use.
//
// Unexported validation functions take the index of a value's first byte and return the index just
// past its last byte. For an invalid document, they return the negative value ^p, where p is the
// index of the first invalid byte, or the document's length if the document ends too early.
type Scanner struct {
	root   *Field
	b      []byte // one or more documents
	bitmap []byte // see bitmap.go

	start int // index of the current document
	next  int // index of the next document; len(b) if there is none

	spans     []span // by slot: values found in the document or the current array item
	inherited []span // by slot: values that each item inherits in Items; all zero otherwise

	stack   []uint64 // scratch space for skip
	scratch []byte   // last result of Text
	tooDeep bool     // the document exceeds maxDepth
}

// span is the position of a value in the document. The zero span means an absent value.
type span struct{ start, end int }

// NewScanner returns a Scanner that finds the fields in f.
func (f *Fields) NewScanner() *Scanner {
	return &Scanner{root: &f.root, spans: make([]span, f.root.end), inherited: make([]span, f.root.end)}
}

// Scan validates the first document in b. It returns the document without surrounding white space,
// or a *[SyntaxError]. [Scanner.Next] returns the documents after it.
//
// If the document is an object, Scan finds its fields. If the document is an array, Scan calls the
// function item for each array item, in order, with the item's offset and bytes. During the call,
// [Scanner.Bytes] returns the item's fields if the item is an object. Scan may call item before it
// finds a syntax error later in the array. item can be nil, and must not call Scan, Next, Items, or
// Reset.
//
// The Scanner retains b until the next call to Scan or Reset.
func (s *Scanner) Scan(b []byte, item func(offset int, value []byte)) (value []byte, err error) {
	s.b = b
	s.setBitmap(b)
	s.next = 0
	return s.document(item)
}

// Next is like [Scanner.Scan], but reads the next document in the same bytes. It returns nil if
// there is none.
func (s *Scanner) Next(item func(offset int, value []byte)) (value []byte, err error) {
	if s.next == len(s.b) {
		return nil, nil
	}
	return s.document(item)
}

// More reports whether the current document is followed by another one.
func (s *Scanner) More() bool { return s.next < len(s.b) }

// document validates the document at b[s.next], after any leading white space.
func (s *Scanner) document(item func(offset int, value []byte)) (value []byte, err error) {
	b := s.b
	s.stack = s.stack[:0]
	s.tooDeep = false
	clear(s.spans)

	start := space(b, s.next)
	var end int
	switch at(b, start) {
	case '{':
		end = s.object(start, s.root, 0)
	case '[':
		end = s.items(start, item)
	default:
		end = s.skip(start, 0)
	}
	if end < 0 {
		return nil, s.syntaxError(^end)
	}
	next := space(b, end)
	if next == end && next < len(b) {
		return nil, s.syntaxError(next)
	}
	s.start, s.next = start, next
	return b[start:end], nil
}

// Names yields the top-level names of the current document, unescaped and in order. It yields
// nothing unless the document is an object. Each name is valid until the next one is yielded.
func (s *Scanner) Names(yield func(name []byte) bool) {
	if is(s.b, s.start, '{') {
		s.members(s.start, func(m Member) bool { return yield(s.Text(m.Name)) })
	}
}

// Member is a member of an object, verbatim.
type Member struct {
	Name  []byte // a JSON string, with quotes
	Value []byte
	Text  []byte // from the name to the end of the value
}

// Members yields the members of the object found for f, in order. A repeated name is yielded each
// time. Members yields nothing unless the value found is an object.
func (s *Scanner) Members(f *Field) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		if is(s.Bytes(f), 0, '{') {
			s.members(s.spans[f.slot].start, yield)
		}
	}
}

// members yields the members of the valid object that begins at b[p].
func (s *Scanner) members(p int, yield func(Member) bool) {
	b := s.b
	for p = space(b, p+1); is(b, p, '"'); {
		name := s.str(p + 1)
		value := space(b, space(b, name)+1)
		end := s.skip(value, 1)
		if !yield(Member{b[p:name], b[value:end], b[p:end]}) {
			return
		}
		if p = space(b, end); is(b, p, ',') {
			p = space(b, p+1)
		}
	}
}

// Items finds the fields in each item of the array that Scan found for f, and calls the function
// item as Scan does. Each item that is an object inherits the given fields, including their
// descendants, from the document. A field is not inherited if the item has a member with the same
// name. If Scan found no array for f, Items does nothing. Otherwise, the document's fields are no
// longer available afterwards.
func (s *Scanner) Items(f *Field, inherit []*Field, item func(offset int, value []byte)) {
	if !is(s.Bytes(f), 0, '[') {
		return
	}
	for _, field := range inherit {
		copy(s.inherited[field.slot:field.end], s.spans[field.slot:field.end])
	}
	s.items(s.spans[f.slot].start, item)
	clear(s.inherited)
}

// items validates the array that begins at b[p] and calls the function item for each of the array's
// items.
func (s *Scanner) items(p int, item func(offset int, value []byte)) int {
	b := s.b
	if p = space(b, p+1); is(b, p, ']') {
		return p + 1
	}
	for {
		start := space(b, p)
		if is(b, start, '{') {
			copy(s.spans, s.inherited)
			p = s.object(start, s.root, 1)
		} else {
			clear(s.spans)
			p = s.skip(start, 1)
		}
		if p < 0 {
			return p
		}
		if item != nil {
			item(start, b[start:p])
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

// Bytes returns the value found for f, verbatim. It returns nil if the value is absent.
func (s *Scanner) Bytes(f *Field) []byte {
	at := s.spans[f.slot]
	if at.end == 0 {
		return nil
	}
	return s.b[at.start:at.end]
}

// Reset releases the documents. Bytes must not be called between Reset and the next Scan.
func (s *Scanner) Reset() {
	s.b = nil
	s.start, s.next = 0, 0
}

// SyntaxError describes why a document is invalid.
type SyntaxError struct {
	Offset  int    // of the first invalid byte, or the document's length if it ends too early
	Problem string // contains no document content
}

// Error returns the offset and the problem.
func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.Problem) }

const byteOrderMark = "\xef\xbb\xbf"

// syntaxError returns the error for a document whose first invalid byte is at index p.
func (s *Scanner) syntaxError(p int) *SyntaxError {
	problem := "invalid JSON"
	rest := string(s.b[p:min(p+utf8.UTFMax, len(s.b))])
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case rest == "":
		problem = "unexpected end of document"
	case s.tooDeep:
		problem = fmt.Sprintf("nested deeper than %d levels", maxDepth)
	case strings.HasPrefix(rest, byteOrderMark):
		problem = "unexpected byte-order mark"
	case r == utf8.RuneError && size == 1:
		problem = "invalid UTF-8"
	}
	return &SyntaxError{p, problem}
}

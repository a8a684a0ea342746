package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// wanted are the paths that the tests look for. Some overlap, differ late, or are long.
var wanted = []string{
	"type", "batch", "context", "context.device", "context.device.id", "properties", "properties.value",
	"a", "a.b", "a.b.c", "a.value", "context.x y", "e", "é.\ufffd", "",
	"anonymousId", "anonymousIe", "originalTimestamp", "originalTimestamq",
}

// inherited are the fields that the tests hand down to the items of batch.
var inherited = []string{"context", "a"}

// subject is a Scanner and its fields. The tests scan all documents with one of them, so that an
// earlier document would be noticed.
type subject struct {
	fields map[string]*Field
	s      *Scanner
}

func newSubject() *subject {
	var paths Paths
	fields := map[string]*Field{}
	for _, path := range wanted {
		fields[path] = paths.Add(strings.Split(path, ".")...)
	}
	return &subject{fields, paths.Compile().NewScanner()}
}

var shared = newSubject()

// requireSame scans a document, with and without vectors, and fails unless the Scanner finds what
// encoding/json finds.
func requireSame(t testing.TB, document []byte) {
	t.Helper()
	for _, vector = range vectors {
		shared.requireSame(t, document)
	}
}

func (s *subject) requireSame(t testing.TB, document []byte) {
	t.Helper()
	before := bytes.Clone(document)
	var items []json.RawMessage
	var found []map[string]json.RawMessage // what each item must hold
	i := 0
	item := func(offset int, value []byte) {
		t.Helper()
		if items != nil {
			if i >= len(items) || !bytes.Equal(value, items[i]) || !bytes.HasPrefix(document[offset:], value) {
				t.Fatalf("%.300q: item %d at byte %d is %.100q", document, i, offset, value)
			}
			s.requireFields(t, document, found[i])
		}
		i++
	}

	valid := utf8.Valid(document) && json.Valid(document)
	if valid && kind(document) == '[' {
		items, found = itemsOf(document, nil)
	}
	value, err := s.s.Scan(document, item)
	if !bytes.Equal(before, document) {
		t.Fatalf("the document was changed: %q, now %q", before, document)
	}
	if (err == nil) != valid {
		t.Fatalf("%.300q: %v, want validity %v", document, err, valid)
	}
	if err != nil {
		if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Offset < 0 || e.Offset > len(document) {
			t.Fatalf("%.300q: %v", document, err)
		}
		return
	}
	if !bytes.Equal(value, bytes.Trim(document, " \t\r\n")) {
		t.Fatalf("%.300q: value %.300q", document, value)
	}
	if i != len(items) {
		t.Fatalf("%.300q: %d items, want %d", document, i, len(items))
	}
	if value[0] != '{' {
		return
	}

	names := object(document)
	s.requireFields(t, document, names)
	if kind(names["batch"]) == '[' {
		items, found = itemsOf(names["batch"], names)
		i = 0
		var fields []*Field
		for _, name := range inherited {
			fields = append(fields, s.fields[name])
		}
		s.s.Items(s.fields["batch"], fields, item)
		if i != len(items) {
			t.Fatalf("%.300q: %d items in batch, want %d", document, i, len(items))
		}
	}
}

// requireFields fails unless the fields have the values in names.
func (s *subject) requireFields(t testing.TB, document []byte, names map[string]json.RawMessage) {
	t.Helper()
	for _, path := range wanted {
		got, want := s.s.Bytes(s.fields[path]), follow(names, path)
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("%.300q: %q is %.100q, want %.100q", document, path, got, want)
		}
	}
}

// itemsOf returns the items of an array, and the names that each object among them holds or inherits
// from batch.
func itemsOf(array []byte, batch map[string]json.RawMessage) (
	items []json.RawMessage, found []map[string]json.RawMessage,
) {
	must(json.Unmarshal(array, &items))
	for _, item := range items {
		var names map[string]json.RawMessage
		if kind(item) == '{' {
			names = object(item)
			for _, name := range inherited {
				if names[name] == nil && batch[name] != nil {
					names[name] = batch[name]
				}
			}
		}
		found = append(found, names)
	}
	return items, found
}

// follow returns the value at a dotted path, or nil.
func follow(names map[string]json.RawMessage, path string) json.RawMessage {
	name, rest, nested := strings.Cut(path, ".")
	value := names[name]
	if !nested {
		return value
	}
	if kind(value) != '{' {
		return nil
	}
	return follow(object(value), rest)
}

// kind returns the first byte of a value, or 0 if it is absent.
func kind(value []byte) byte { return at(bytes.TrimLeft(value, " \t\r\n"), 0) }

func object(value []byte) (names map[string]json.RawMessage) {
	must(json.Unmarshal(value, &names))
	return names
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

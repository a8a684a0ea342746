package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// wanted lists the paths that the tests look up. Some overlap, differ only near the end, or are
// long.
var wanted = []string{
	"type", "batch", "context", "context.device", "context.device.id", "properties", "properties.value",
	"a", "a.b", "a.b.c", "a.value", "context.x y", "e", "é.\ufffd", "",
	"anonymousId", "anonymousIe", "originalTimestamp", "originalTimestamq",
}

// inherited lists the fields that the items of batch inherit in the tests.
var inherited = []string{"context", "a"}

// subject is a Scanner and its fields. All tests share one, so that state left by an earlier
// document makes a test fail.
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

// requireSame scans a document with and without vector instructions, and fails the test unless the
// Scanner agrees with encoding/json.
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
	var found []map[string]json.RawMessage // the expected fields of each item
	i := 0
	item := func(offset int, value []byte) {
		t.Helper()
		if items != nil {
			if i >= len(items) || !bytes.Equal(value, items[i]) || !bytes.HasPrefix(document[offset:], value) {
				t.Fatalf("%.300q: item %d is %.100q at byte %d", document, i, value, offset)
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
		t.Fatalf("Scan changed the document from %q to %q", before, document)
	}
	if (err == nil) != valid {
		t.Fatalf("%.300q: error %v, but encoding/json reports valid = %v", document, err, valid)
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

// requireFields fails the test unless the fields have the values in names.
func (s *subject) requireFields(t testing.TB, document []byte, names map[string]json.RawMessage) {
	t.Helper()
	for _, path := range wanted {
		got, want := s.s.Bytes(s.fields[path]), follow(names, path)
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("%.300q: %q is %.100q, want %.100q", document, path, got, want)
		}
	}
}

// itemsOf returns the items of an array. For each object among them, it also returns the names that
// the object contains or inherits from batch.
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

package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
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

func (s *subject) requireSame(t testing.TB, b []byte) {
	t.Helper()
	before := bytes.Clone(b)
	documents, valid := documentsOf(b)
	for i := 0; ; i++ {
		var document []byte
		if i < len(documents) {
			document = documents[i]
		}
		value, err := s.next(t, i == 0, b, document)
		if !bytes.Equal(before, b) {
			t.Fatalf("the scanner changed %q to %q", before, b)
		}
		if err != nil {
			if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Offset < 0 || e.Offset > len(b) || valid {
				t.Fatalf("%.300q: document %d: %v, but encoding/json reports valid = %v", b, i, err, valid)
			}
			return
		}
		if (value == nil) != (document == nil) || !bytes.Equal(value, document) {
			t.Fatalf("%.300q: document %d is %.300q, want %.300q", b, i, value, document)
		}
		if value == nil {
			if !valid {
				t.Fatalf("%.300q: no error", b)
			}
			return
		}
		s.requireFound(t, value)
	}
}

// next returns the result of Scan or Next, and fails the test unless the scanner finds the items of
// document.
func (s *subject) next(t testing.TB, first bool, b, document []byte) ([]byte, error) {
	t.Helper()
	var items []json.RawMessage
	var found []map[string]json.RawMessage // the expected fields of each item
	if kind(document) == '[' {
		items, found = itemsOf(document, nil)
	}
	i := 0
	item := func(offset int, value []byte) {
		t.Helper()
		if document != nil {
			if i >= len(items) || !bytes.Equal(value, items[i]) || !bytes.HasPrefix(b[offset:], value) {
				t.Fatalf("%.300q: item %d is %.100q at byte %d", b, i, value, offset)
			}
			s.requireFields(t, b, found[i])
		}
		i++
	}
	scan := s.s.Next
	if first {
		scan = func(item func(int, []byte)) ([]byte, error) { return s.s.Scan(b, item) }
	}
	value, err := scan(item)
	if err == nil && i != len(items) {
		t.Fatalf("%.300q: %d items, want %d", b, i, len(items))
	}
	return value, err
}

// requireFound fails the test unless the scanner has found the fields and names of the document,
// and finds the items of its batch.
func (s *subject) requireFound(t testing.TB, document []byte) {
	t.Helper()
	var names []string
	for name := range s.s.Names {
		names = append(names, string(name))
	}
	if want, _ := membersOf(document); !slices.Equal(names, want) {
		t.Fatalf("%.300q: names %q, want %q", document, names, want)
	}
	if document[0] != '{' {
		return
	}
	fields := object(document)
	s.requireFields(t, document, fields)
	if kind(fields["batch"]) != '[' {
		return
	}
	items, found := itemsOf(fields["batch"], fields)
	var inherit []*Field
	for _, name := range inherited {
		inherit = append(inherit, s.fields[name])
	}
	i := 0
	s.s.Items(s.fields["batch"], inherit, func(_ int, value []byte) {
		if i >= len(items) || !bytes.Equal(value, items[i]) {
			t.Fatalf("%.300q: item %d of batch is %.100q", document, i, value)
		}
		s.requireFields(t, document, found[i])
		i++
	})
	if i != len(items) {
		t.Fatalf("%.300q: %d items in batch, want %d", document, i, len(items))
	}
}

// documentsOf returns the documents in b. valid reports whether all of b is valid. If it is not,
// the documents before the first invalid one are returned.
func documentsOf(b []byte) (documents []json.RawMessage, valid bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	end := 0
	for {
		var document json.RawMessage
		if err := d.Decode(&document); err != nil || !utf8.Valid(document) {
			return documents, err == io.EOF && len(documents) > 0
		}
		start := int(d.InputOffset()) - len(document)
		if start == end && len(documents) > 0 {
			return documents[:len(documents)-1], false // no white space between two documents
		}
		documents = append(documents, document)
		end = start + len(document)
	}
}

// membersOf returns the names and values at the top level of an object, with repetitions.
func membersOf(document []byte) (names, values []string) {
	if kind(document) != '{' {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(document))
	must1(d.Token())
	for d.More() {
		names = append(names, must1(d.Token()).(string))
		var value json.RawMessage
		must(d.Decode(&value))
		values = append(values, string(value))
	}
	return names, values
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
	for _, path := range []string{"properties", "a"} {
		s.requireMembers(t, document, s.fields[path], follow(names, path))
	}
}

// requireMembers fails the test unless the scanner yields the members of the value found for f.
func (s *subject) requireMembers(t testing.TB, document []byte, f *Field, value []byte) {
	t.Helper()
	var names, values []string
	for m := range s.s.Members(f) {
		names, values = append(names, string(s.s.Text(m.Name))), append(values, string(m.Value))
		if !bytes.HasPrefix(m.Text, m.Name) || !bytes.HasSuffix(m.Text, m.Value) || !bytes.Contains(value, m.Text) {
			t.Fatalf("%.300q: member %.100q has name %.100q and value %.100q", document, m.Text, m.Name, m.Value)
		}
	}
	if wantNames, wantValues := membersOf(value); !slices.Equal(names, wantNames) || !slices.Equal(values, wantValues) {
		t.Fatalf("%.300q: members %q and %q, want %q and %q", document, names, values, wantNames, wantValues)
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

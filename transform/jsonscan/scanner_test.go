package jsonscan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSyntaxErrorNamesTheFirstInvalidByte(t *testing.T) {
	for document, want := range map[string]string{
		"":                                  "byte 0: unexpected end of document",
		" \n":                               "byte 2: unexpected end of document",
		`{"a":"x`:                           "byte 7: unexpected end of document",
		`{"a":1}{`:                          "byte 7: invalid JSON",
		`{"a":1 "b"}`:                       "byte 7: invalid JSON",
		`1true`:                             "byte 1: invalid JSON",
		`{"a":tru}`:                         "byte 5: invalid JSON",
		`["\u12g4"]`:                        "byte 6: invalid JSON",
		"[\"\x01\"]":                        "byte 2: invalid JSON",
		"\xef\xbb\xbf{}":                    "byte 0: unexpected byte-order mark",
		"{\"a\":\"xx\xe2\x82\"}":            "byte 8: invalid UTF-8",
		strings.Repeat("[", maxDepth+1):     "byte 10000: nested deeper than 10000 levels",
		strings.Repeat(`{"a":`, maxDepth+1): "byte 50000: nested deeper than 10000 levels",
	} {
		requireSame(t, []byte(document))
		if value, err := shared.s.Scan([]byte(document), nil); value != nil || err == nil || err.Error() != want {
			t.Errorf("%.80q: %q, %v, want %s", document, value, err, want)
		}
	}
}

func TestScanAgreesWithTheReferenceOnTestdata(t *testing.T) {
	for _, document := range documents() {
		requireSame(t, document)
	}
}

// TestScanRejectsTruncatedDocuments also pads a document, so that each string has every alignment
// to the bitmap.
func TestScanRejectsTruncatedDocuments(t *testing.T) {
	document := documents()[0]
	for pad := range 65 {
		requireSame(t, append(bytes.Repeat([]byte(" "), pad), document...))
	}
	for i := range document {
		requireSame(t, bytes.Clone(document[:i:i])) // a copy, so that a read past its end panics
	}
}

func TestStringsOfAnyLengthAndContentAreValid(t *testing.T) {
	for _, special := range []string{
		"", `\"`, `\\`, `\u00e9`, `\ud83d\ude00`, "é", "✓", "😀", "\x7f", "#", "!", " ",
	} {
		for length := range 150 {
			s := strings.Repeat("x", length) + special
			requireSame(t, fmt.Appendf(nil, `{"a":"%s","properties":{"%[1]s":["%[1]s"],"value":"1"}}`, s+"y"))
		}
	}
}

func TestDeepDocumentsAreValid(t *testing.T) {
	for _, depth := range []int{1, 2, 62, 63, 64, 65, 66, 127, 128, 129, 130, 1000, maxDepth - 2} {
		for _, value := range []string{
			strings.Repeat("[", depth) + strings.Repeat("]", depth),
			strings.Repeat(`{"a":`, depth) + "0" + strings.Repeat("}", depth),
			strings.Repeat(`[0,{"a":`, depth/2) + `""` + strings.Repeat("},[]]", depth/2),
		} {
			document := []byte(`{"properties":{"a":` + value + `}}`)
			requireSame(t, document)
			if _, err := shared.s.Scan(document, nil); err != nil {
				t.Errorf("depth %d: %v", depth, err)
			}
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	items := 0
	item := func(int, []byte) { items++ }
	for _, document := range documents() {
		s := newSubject()
		if _, err := s.s.Scan(document, item); err != nil { // the scratch space grows here
			continue
		}
		inherit := []*Field{s.fields["context"]}
		if n := testing.AllocsPerRun(10, func() {
			must1(s.s.Scan(document, item))
			for range s.s.Names {
				items++
			}
			for range s.s.Members(s.fields["properties"]) {
				items++
			}
			if batch := s.s.Bytes(s.fields["batch"]); kind(document) == '{' && kind(batch) == '[' {
				s.s.Items(s.fields["batch"], inherit, item)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", document, n)
		}
	}
}

func TestItemsBeforeASyntaxErrorAreVisited(t *testing.T) {
	var offsets []int
	_, err := shared.s.Scan([]byte(`[1, {"a":2} ,]`), func(offset int, _ []byte) { offsets = append(offsets, offset) })
	if want := "byte 13: invalid JSON"; err == nil || err.Error() != want || !slices.Equal(offsets, []int{1, 4}) {
		t.Errorf("items at %v, error %v, want %s", offsets, err, want)
	}
}

func TestNextReturnsOneDocumentAtATime(t *testing.T) {
	b := []byte("{\"a\":1}\n[2] 3\t \"\" {\"a\":4} ")
	requireSame(t, b)
	var got []string
	value, err := shared.s.Scan(b, nil)
	for ; value != nil; value, err = shared.s.Next(nil) {
		must(err)
		got = append(got, string(value)+" "+string(shared.s.Bytes(shared.fields["a"])))
	}
	if want := []string{`{"a":1} 1`, "[2] ", "3 ", `"" `, `{"a":4} 4`}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, invalid := range []string{"{}{}", "[][]", `""""`, "1true", "{} {}{}", "{} ]", "{} \xff", "\"\xff\" {}"} {
		requireSame(t, []byte(invalid))
	}
}

func TestItemsDoesNothingWithoutAnArray(t *testing.T) {
	for _, document := range []string{`{"batch":{"a":1}}`, `{"a":1}`, `[]`, `7`} {
		must1(shared.s.Scan([]byte(document), nil))
		shared.s.Items(shared.fields["batch"], nil, func(int, []byte) { t.Errorf("%s: item visited", document) })
	}
}

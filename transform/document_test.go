package transform

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// maxDepth is the maximum nesting depth of a document.
const maxDepth = 10_000

const anEvent = `{"type":"track","event":"E","userId":"u"}`

// malformed lists records that are rejected as a whole, with the detail of each rejection.
var malformed = []struct{ record, detail string }{
	{"", "the value is empty"},
	{" \n", "byte 2: unexpected end of document"},
	{"\x00\x00\x00\x00\x01", "byte 5: unexpected end of document"},
	{"\x00\x00\x00\x01", "byte 0: invalid JSON"},
	{"\x01\x00\x00\x00\x01" + anEvent, "byte 0: invalid JSON"},
	{"\xef\xbb\xbf" + anEvent, "byte 0: unexpected byte-order mark"},
	{"\x00\x00\x00\x00\x01\xef\xbb\xbf" + anEvent, "byte 5: unexpected byte-order mark"},
	{anEvent + anEvent, "byte 41: invalid JSON"},
	{anEvent + "\n" + anEvent + "x", "byte 83: invalid JSON"},
	{anEvent + "\n" + anEvent[1:], "byte 48: invalid JSON"},
	{anEvent + "\n" + anEvent[:40], "byte 82: unexpected end of document"},
	{"\x03\x050123456789abcdef" + anEvent, "the value is compressed by AWS Glue's serializer, which is not supported"},
	{"\x03\x00" + "0123456789abcdef" + anEvent + "]", "byte 59: invalid JSON"},
	{"\x03\x01" + "0123456789abcdef" + anEvent, "byte 0: invalid JSON"},
	{"\x03\x00" + "0123456789abcde", "byte 0: invalid JSON"},
	{"[" + anEvent + "," + anEvent, "byte 84: unexpected end of document"},
	{"[" + anEvent + ",", "byte 43: unexpected end of document"},
	{"[" + anEvent + ",]", "byte 43: invalid JSON"},
	{"[" + anEvent + ",{]]", "byte 44: invalid JSON"},
	{"[" + anEvent + " " + anEvent + "]", "byte 43: invalid JSON"},
	{"[,]", "byte 1: invalid JSON"},
	{`{"batch":[` + anEvent + `,],"a":1}`, "byte 52: invalid JSON"},
	{`{"batch":[` + anEvent + `]`, "byte 52: unexpected end of document"},
	{`{"a":1,}`, "byte 7: invalid JSON"},
	{`{"a"}`, "byte 4: invalid JSON"},
	{`{"a":}`, "byte 5: invalid JSON"},
	{`{"a" 1}`, "byte 5: invalid JSON"},
	{`{a:1}`, "byte 1: invalid JSON"},
	{`{'a':1}`, "byte 1: invalid JSON"},
	{`{"a":1]`, "byte 6: invalid JSON"},
	{`{"x":[1}}`, "byte 7: invalid JSON"},
	{`{"x":{"y":1]}`, "byte 11: invalid JSON"},
	{`{"x":{"y"}}`, "byte 9: invalid JSON"},
	{`{"x":{1:2}}`, "byte 6: invalid JSON"},
	{`{"x":[1 2]}`, "byte 8: invalid JSON"},
	{`{"a":01}`, "byte 6: invalid JSON"},
	{`{"a":+1}`, "byte 5: invalid JSON"},
	{`{"a":.5}`, "byte 5: invalid JSON"},
	{`{"a":1.}`, "byte 7: invalid JSON"},
	{`{"a":1e}`, "byte 7: invalid JSON"},
	{`{"a":-}`, "byte 6: invalid JSON"},
	{`{"a":NaN}`, "byte 5: invalid JSON"},
	{`{"a":tru}`, "byte 5: invalid JSON"},
	{`{"a":nul`, "byte 5: invalid JSON"},
	{`{"a":truee}`, "byte 9: invalid JSON"},
	{`{"a":undefined}`, "byte 5: invalid JSON"},
	{"{\"a\":\"x\ny\"}", "byte 7: invalid JSON"},
	{"{\"a\":\"\x00\"}", "byte 6: invalid JSON"},
	{"{\"a\x1f\":1}", "byte 3: invalid JSON"},
	{"{\"a\":\x0b1}", "byte 5: invalid JSON"},
	{"{\u00a0\"a\":1}", "byte 1: invalid JSON"},
	{`{"a":"\x"}`, "byte 7: invalid JSON"},
	{`{"a":"\u12g4"}`, "byte 10: invalid JSON"},
	{`{"a":"\u123`, "byte 11: unexpected end of document"},
	{`{"a":"\`, "byte 7: unexpected end of document"},
	{`{"a":"` + strings.Repeat("x", 200), "byte 206: unexpected end of document"},
	{"{\"a\":\"\xff\"}", "byte 6: invalid UTF-8"},
	{"{\"a\":\"\xc3\"}", "byte 6: invalid UTF-8"},
	{"{\"a\":\"\x80\"}", "byte 6: invalid UTF-8"},
	{"{\"a\":\"\xc0\xaf\"}", "byte 6: invalid UTF-8"},         // overlong
	{"{\"a\":\"\xed\xa0\x80\"}", "byte 6: invalid UTF-8"},     // a surrogate
	{"{\"a\":\"\xf4\x90\x80\x80\"}", "byte 6: invalid UTF-8"}, // beyond Unicode
	{"{\"a\":\"xx\xe2\x82", "byte 8: invalid UTF-8"},
	{"{\"\xff\":1}", "byte 2: invalid UTF-8"},
	{"{\"a\":1}\xff", "byte 7: invalid UTF-8"},
	{"\xff\xfe{\x00}\x00", "byte 0: invalid UTF-8"}, // UTF-16
	{strings.Repeat("[", maxDepth+1), "byte 10000: nested deeper than 10000 levels"},
	{strings.Repeat(`{"a":`, maxDepth+1), "byte 50000: nested deeper than 10000 levels"},
	{
		`{"a":[` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "]}",
		"byte 10004: nested deeper than 10000 levels",
	},
	{`{"properties":{"value":` + strings.Repeat("[", maxDepth-1), "byte 10021: nested deeper than 10000 levels"},
	{strings.Repeat("[", maxDepth), "byte 10000: unexpected end of document"},
	{strings.Repeat("[", 100) + "}", "byte 100: invalid JSON"},
}

func TestInvalidDocumentIsOneRejectedCall(t *testing.T) {
	before, beforeCalls := []byte("before,"), []Call{{}}
	for _, test := range malformed {
		requireSame(t, []byte(test.record), recordTimestamp)
		dst, calls := mappings[0].NewTransformer().Append(before, beforeCalls, recordAt([]byte(test.record), recordTimestamp))
		if string(dst) != "before," || len(calls) != 2 ||
			calls[1] != (Call{Reason: Malformed, Detail: test.detail, End: len(dst)}) {
			t.Errorf("%.80q: %q, %v, want detail %q", test.record, dst, calls[1:], test.detail)
		}
	}
}

func TestSchemaRegistryPrefixesAreSkipped(t *testing.T) {
	want, _ := newTransformer(schema3).Append(nil, nil, recordAt([]byte(anEvent), recordTimestamp))
	for _, prefix := range []string{"\x00\x00\x00\x00\x07", "\x03\x000123456789abcdef"} {
		record := []byte(prefix + anEvent)
		requireSame(t, record, recordTimestamp)
		if got, _ := newTransformer(schema3).Append(nil, nil, recordAt(record, recordTimestamp)); !bytes.Equal(got, want) {
			t.Errorf("%q: %s, want %s", record, got, want)
		}
	}
}

func TestDeepDocumentIsValid(t *testing.T) {
	for _, depth := range []int{1, 2, 62, 63, 64, 65, 66, 127, 128, 129, 130, 1000, maxDepth - 2} {
		for _, value := range []string{
			strings.Repeat("[", depth) + strings.Repeat("]", depth),
			strings.Repeat(`{"a":`, depth) + "0" + strings.Repeat("}", depth),
			strings.Repeat(`[0,{"a":`, depth/2) + `""` + strings.Repeat("},[]]", depth/2),
		} {
			record := []byte(`{"type":"track","event":"E","userId":"u","properties":{"a":` + value + `}}`)
			requireSame(t, record, recordTimestamp)
			_, calls := mappings[0].NewTransformer().Append(nil, nil, recordAt(record, recordTimestamp))
			if calls[0].Reason != None {
				t.Errorf("depth %d: %v", depth, calls)
			}
		}
	}
}

func TestTombstoneIsFiltered(t *testing.T) {
	requireSame(t, nil, recordTimestamp)
	_, calls := mappings[0].NewTransformer().Append(nil, nil, recordAt(nil, recordTimestamp))
	if len(calls) != 1 || calls[0] != (Call{Reason: Tombstone}) {
		t.Error(calls)
	}
}

func TestConfluentPrefixIsSkipped(t *testing.T) {
	transformer := mappings[0].NewTransformer()
	want, _ := transformer.Append(nil, nil, recordAt([]byte(anEvent), recordTimestamp))
	for _, prefix := range []string{"\x00\x00\x00\x00\x01", "\x00\xff\xff\xff\xff", "\x00{[\"\\"} {
		record := []byte(prefix + anEvent)
		requireSame(t, record, recordTimestamp)
		if got, calls := transformer.Append(nil, nil, recordAt(record, recordTimestamp)); !bytes.Equal(got, want) {
			t.Errorf("prefix %q: %s, %v", prefix, got, calls)
		}
	}
}

// aBatch has calls that inherit the context of the batch, and calls that do not.
const aBatch = `{"context":{"device":{"id":"top"}},"batch":[{"type":"track","event":"1"},` +
	`{"type":"track","event":"2","context":{}},{"type":"track","event":"3","context":null,"userId":"u"},` +
	`{"type":"track","event":"4","context":{"device":{"id":"own"}}},{"type":"track","event":"5"}]}`

// TestTruncatedRecordIsRejected also pads the records, so that the document and each of its strings
// end at every position within the blocks of the scan.
func TestTruncatedRecordIsRejected(t *testing.T) {
	records := append(sample(2), []byte(aBatch), []byte("\x00\x00\x00\x00\x01"+anEvent))
	for _, record := range records {
		for pad := range 17 {
			padded := append(bytes.Repeat([]byte(" "), pad), record...)
			if record[0] == 0 {
				padded = slices.Concat(record, padded[:pad])
			}
			requireSame(t, padded, recordTimestamp)
		}
		for i := range record {
			cut := bytes.Clone(record[:i:i]) // a copy, so that a read past its end panics
			requireSame(t, cut, recordTimestamp)
			_, calls := mappings[0].NewTransformer().Append(nil, nil, recordAt(cut, recordTimestamp))
			if len(calls) != 1 || calls[0].Reason != Malformed {
				t.Errorf("truncated at byte %d: %v", i, calls)
			}
		}
	}
}

func TestStringsOfAnyLengthAndContentAreMapped(t *testing.T) {
	for _, special := range []string{
		"", `\"`, `\\`, `\u00e9`, `\ud83d\ude00`, "é", "✓", "😀", "\x7f", "#", "!", " ",
	} {
		for length := range 150 {
			s := strings.Repeat("x", length) + special
			record := fmt.Appendf(nil,
				`{"type":"track","event":"%s","userId":"u","properties":{"%[1]s":["%[1]s"],"value":"1"}}`, s+"y")
			requireSame(t, record, recordTimestamp)
			_, calls := mappings[0].NewTransformer().Append(nil, nil, recordAt(record, recordTimestamp))
			if calls[0].Reason != None {
				t.Fatalf("%s: %v", record, calls)
			}
		}
	}
}

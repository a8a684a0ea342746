package transform

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// maxDepth is how deep a document can nest.
const maxDepth = 10_000

const anEvent = `{"type":"track","event":"E","userId":"u"}`

// malformed are records that are rejected as a whole, with the detail that says why.
var malformed = []struct{ record, detail string }{
	{"", "the value is empty"},
	{" \n", "byte 2: the document ends too early"},
	{"\x00\x00\x00\x00\x01", "byte 5: the document ends too early"},
	{"\x00\x00\x00\x01", "byte 0: not JSON"},
	{"\x01\x00\x00\x00\x01" + anEvent, "byte 0: not JSON"},
	{"\xef\xbb\xbf" + anEvent, "byte 0: a byte-order mark"},
	{"\x00\x00\x00\x00\x01\xef\xbb\xbf" + anEvent, "byte 5: a byte-order mark"},
	{anEvent + anEvent, "byte 41: not JSON"},
	{anEvent + "\n" + anEvent, "byte 42: not JSON"},
	{"[" + anEvent + "," + anEvent, "byte 84: the document ends too early"},
	{"[" + anEvent + ",", "byte 43: the document ends too early"},
	{"[" + anEvent + ",]", "byte 43: not JSON"},
	{"[" + anEvent + ",{]]", "byte 44: not JSON"},
	{"[" + anEvent + " " + anEvent + "]", "byte 43: not JSON"},
	{"[,]", "byte 1: not JSON"},
	{`{"batch":[` + anEvent + `,],"a":1}`, "byte 52: not JSON"},
	{`{"batch":[` + anEvent + `]`, "byte 52: the document ends too early"},
	{`{"a":1,}`, "byte 7: not JSON"},
	{`{"a"}`, "byte 4: not JSON"},
	{`{"a":}`, "byte 5: not JSON"},
	{`{"a" 1}`, "byte 5: not JSON"},
	{`{a:1}`, "byte 1: not JSON"},
	{`{'a':1}`, "byte 1: not JSON"},
	{`{"a":1]`, "byte 6: not JSON"},
	{`{"x":[1}}`, "byte 7: not JSON"},
	{`{"x":{"y":1]}`, "byte 11: not JSON"},
	{`{"x":{"y"}}`, "byte 9: not JSON"},
	{`{"x":{1:2}}`, "byte 6: not JSON"},
	{`{"x":[1 2]}`, "byte 8: not JSON"},
	{`{"a":01}`, "byte 6: not JSON"},
	{`{"a":+1}`, "byte 5: not JSON"},
	{`{"a":.5}`, "byte 5: not JSON"},
	{`{"a":1.}`, "byte 7: not JSON"},
	{`{"a":1e}`, "byte 7: not JSON"},
	{`{"a":-}`, "byte 6: not JSON"},
	{`{"a":NaN}`, "byte 5: not JSON"},
	{`{"a":tru}`, "byte 5: not JSON"},
	{`{"a":nul`, "byte 5: not JSON"},
	{`{"a":truee}`, "byte 9: not JSON"},
	{`{"a":undefined}`, "byte 5: not JSON"},
	{"{\"a\":\"x\ny\"}", "byte 7: not JSON"},
	{"{\"a\":\"\x00\"}", "byte 6: not JSON"},
	{"{\"a\x1f\":1}", "byte 3: not JSON"},
	{"{\"a\":\x0b1}", "byte 5: not JSON"},
	{"{\u00a0\"a\":1}", "byte 1: not JSON"},
	{`{"a":"\x"}`, "byte 7: not JSON"},
	{`{"a":"\u12g4"}`, "byte 10: not JSON"},
	{`{"a":"\u123`, "byte 11: the document ends too early"},
	{`{"a":"\`, "byte 7: the document ends too early"},
	{`{"a":"` + strings.Repeat("x", 200), "byte 206: the document ends too early"},
	{"{\"a\":\"\xff\"}", "byte 6: not UTF-8"},
	{"{\"a\":\"\xc3\"}", "byte 6: not UTF-8"},
	{"{\"a\":\"\x80\"}", "byte 6: not UTF-8"},
	{"{\"a\":\"\xc0\xaf\"}", "byte 6: not UTF-8"},         // overlong
	{"{\"a\":\"\xed\xa0\x80\"}", "byte 6: not UTF-8"},     // a surrogate
	{"{\"a\":\"\xf4\x90\x80\x80\"}", "byte 6: not UTF-8"}, // beyond Unicode
	{"{\"a\":\"xx\xe2\x82", "byte 8: not UTF-8"},
	{"{\"\xff\":1}", "byte 2: not UTF-8"},
	{"{\"a\":1}\xff", "byte 7: not UTF-8"},
	{"\xff\xfe{\x00}\x00", "byte 0: not UTF-8"}, // UTF-16
	{strings.Repeat("[", maxDepth+1), "byte 10000: nested deeper than 10000"},
	{strings.Repeat(`{"a":`, maxDepth+1), "byte 50000: nested deeper than 10000"},
	{`{"a":[` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "]}", "byte 10004: nested deeper than 10000"},
	{`{"properties":{"value":` + strings.Repeat("[", maxDepth-1), "byte 10021: nested deeper than 10000"},
	{strings.Repeat("[", maxDepth), "byte 10000: the document ends too early"},
	{strings.Repeat("[", 100) + "}", "byte 100: not JSON"},
}

func TestADocumentThatIsNotJSONIsOneRejectedCall(t *testing.T) {
	before, beforeCalls := []byte("before,"), []Call{{}}
	for _, test := range malformed {
		requireSame(t, []byte(test.record), recordTimestamp)
		dst, calls := mappings[0].NewTransformer().Append(before, beforeCalls, []byte(test.record), recordTimestamp)
		if string(dst) != "before," || len(calls) != 2 || calls[1] != (Call{Malformed, test.detail, len(dst)}) {
			t.Errorf("%.80q: %q, %v, want detail %q", test.record, dst, calls[1:], test.detail)
		}
	}
}

func TestADeepDocumentIsValid(t *testing.T) {
	for _, depth := range []int{1, 2, 62, 63, 64, 65, 66, 127, 128, 129, 130, 1000, maxDepth - 2} {
		for _, value := range []string{
			strings.Repeat("[", depth) + strings.Repeat("]", depth),
			strings.Repeat(`{"a":`, depth) + "0" + strings.Repeat("}", depth),
			strings.Repeat(`[0,{"a":`, depth/2) + `""` + strings.Repeat("},[]]", depth/2),
		} {
			record := []byte(`{"type":"track","event":"E","userId":"u","properties":{"a":` + value + `}}`)
			requireSame(t, record, recordTimestamp)
			if _, calls := mappings[0].NewTransformer().Append(nil, nil, record, recordTimestamp); calls[0].Reason != None {
				t.Errorf("depth %d: %v", depth, calls)
			}
		}
	}
}

func TestATombstoneIsFiltered(t *testing.T) {
	requireSame(t, nil, recordTimestamp)
	_, calls := mappings[0].NewTransformer().Append(nil, nil, nil, recordTimestamp)
	if len(calls) != 1 || calls[0] != (Call{Reason: Tombstone}) {
		t.Error(calls)
	}
}

func TestAConfluentPrefixIsSkipped(t *testing.T) {
	transformer := mappings[0].NewTransformer()
	want, _ := transformer.Append(nil, nil, []byte(anEvent), recordTimestamp)
	for _, prefix := range []string{"\x00\x00\x00\x00\x01", "\x00\xff\xff\xff\xff", "\x00{[\"\\"} {
		record := []byte(prefix + anEvent)
		requireSame(t, record, recordTimestamp)
		if got, calls := transformer.Append(nil, nil, record, recordTimestamp); !bytes.Equal(got, want) {
			t.Errorf("prefix %q: %s, %v", prefix, got, calls)
		}
	}
}

// TestARecordCutOffAnywhereIsRejected also moves the end of the document, and of each of its strings, over all positions
// within the blocks that the scan works in.
func TestARecordCutOffAnywhereIsRejected(t *testing.T) {
	records := append(sample(2), lines("testdata", "records.ndjson")[15], []byte("\x00\x00\x00\x00\x01"+anEvent))
	for _, record := range records {
		for pad := range 17 {
			padded := append(bytes.Repeat([]byte(" "), pad), record...)
			if record[0] == 0 {
				padded = slices.Concat(record, padded[:pad])
			}
			requireSame(t, padded, recordTimestamp)
		}
		for i := range record {
			cut := bytes.Clone(record[:i:i]) // its own memory, so that a read beyond it is caught
			requireSame(t, cut, recordTimestamp)
			_, calls := mappings[0].NewTransformer().Append(nil, nil, cut, recordTimestamp)
			if len(calls) != 1 || calls[0].Reason != Malformed {
				t.Errorf("cut at byte %d: %v", i, calls)
			}
		}
	}
}

func TestStringsOfAnyLengthAndContent(t *testing.T) {
	for _, special := range []string{"", `\"`, `\\`, `\u00e9`, `\ud83d\ude00`, "é", "✓", "😀", "\x7f", "#", "!", " "} {
		for length := range 150 {
			s := strings.Repeat("x", length) + special
			record := []byte(fmt.Sprintf(`{"type":"track","event":"%s","userId":"u","properties":{"%[1]s":["%[1]s"],"value":"1"}}`, s+"y"))
			requireSame(t, record, recordTimestamp)
			_, calls := mappings[0].NewTransformer().Append(nil, nil, record, recordTimestamp)
			if calls[0].Reason != None {
				t.Fatalf("%s: %v", record, calls)
			}
		}
	}
}

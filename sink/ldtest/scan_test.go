package ldtest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// The scanner requires valid input. The fuzz test compares it with encoding/json.
func FuzzScannerFindsWhatEncodingJSONFinds(f *testing.F) {
	for _, body := range []string{
		`[]`, ` [ ] `, `[1]`, `["a","]",[{"b":[2]}],{}, null ,-1.5e3 ]`, `["\"","\\"]`,
		`{}`, ` { } `, `{"a":1,"a":2}`, `{"\u0061\"":{"}":"{"} , "b" : [ ] }`, `7`, `"x"`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) || !json.Valid(body) { // rejected by parse
			return
		}
		var elements []json.RawMessage
		if json.Unmarshal(body, &elements) == nil && elements != nil {
			got := []json.RawMessage{}
			for event := range Events(body) {
				got = append(got, event)
			}
			if !reflect.DeepEqual(got, elements) {
				t.Errorf("elements of %s: %q, want %q", body, got, elements)
			}
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(body, &fields) == nil && fields != nil {
			got := map[string]json.RawMessage{}
			for name, value := range members(body) {
				got[name] = value
			}
			if !reflect.DeepEqual(got, fields) {
				t.Errorf("members of %s: %q, want %q", body, got, fields)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	event := []byte(`{"kind":"custom","key":"Order Completed","userKey":"test-user",` +
		`"creationDate":1592588370692,"metricValue":99.84,"data":{"n":1,"text":"` +
		string(bytes.Repeat([]byte("lorem ipsum "), 50)) + `"}}`)
	body := append(append([]byte{'['}, bytes.Repeat(append(event, ','), 999)...), append(event, ']')...)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		events, err := parse(body)
		if err != nil {
			b.Fatal(err)
		}
		for _, event := range events {
			if reason := dropReason(event, "3"); reason != "" {
				b.Fatal(reason)
			}
		}
	}
}

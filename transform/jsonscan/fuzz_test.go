package jsonscan

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzScan compares a Scanner with encoding/json.
func FuzzScan(f *testing.F) {
	for _, document := range documents() {
		f.Add(document)
	}
	f.Fuzz(func(t *testing.T, document []byte) { requireSame(t, document) })
}

// FuzzText compares Text and IsNumber with encoding/json.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "a", `"\ud83d\ude00"`, `"\ud83dx"`, `"\ud83d\u0061"`, `"\"\\\/\b\f\n\r\t\u00E9"`,
		"-1.5e+7", "01", "é\x00", "1 ",
	} {
		f.Add(s)
	}
	s := new(Paths).Compile().NewScanner()
	f.Fuzz(func(t *testing.T, content string) {
		for _, raw := range [][]byte{must1(json.Marshal(content)), []byte(content)} {
			valid := json.Valid(raw) && len(bytes.TrimSpace(raw)) == len(raw)
			if want := valid && strings.IndexByte("-0123456789", raw[0]) >= 0; IsNumber(raw) != want {
				t.Fatalf("IsNumber(%q): %v", raw, !want)
			}
			if !valid || raw[0] != '"' {
				continue
			}
			var want string
			must(json.Unmarshal(raw, &want))
			if _, err := s.Scan(raw, nil); err == nil && string(s.Text(raw)) != want {
				t.Fatalf("%q: %q, want %q", raw, s.Text(raw), want)
			}
		}
	})
}

// documents returns the records in the testdata of package transform, valid and invalid, and a few
// others.
func documents() (documents [][]byte) {
	for _, file := range must1(filepath.Glob("../testdata/*.ndjson")) {
		documents = append(documents, bytes.Split(must1(os.ReadFile(file)), []byte("\n"))...)
	}
	return append(documents,
		[]byte(`{"batch":[{"context":null},{"a":{"b":1}},7,{"context":{"device":{"id":1}}}],`+
			`"context":{"device":{"id":2}},"a":{"b":{"c":3}}}`),
		[]byte(`{"a":{"b":{"c":1}},"a":{"b":2},"é":{"\ud800":"5"}}`),
		[]byte(`{"a":{"b":1}} ["x"]`+"\n7\t"+`{"a\u0062":[],"\ud800":{"":{}},"a":2,"a":3}`+" \r\n"),
		[]byte(` [ {"a" : 1 } , [ ] , {"a":{ "b" : [ {} ] } } ] `),
	)
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

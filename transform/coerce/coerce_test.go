package coerce

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/transform/coerce/coercetest"
	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

func newReader() *Reader {
	return NewReader(new(jsonscan.Paths).Compile().NewScanner().Text)
}

// requireSame compares a Reader with the reference.
func requireSame(t *testing.T, r *Reader, raw []byte) {
	t.Helper()
	if got, ok := r.Time(raw); ok != (coercetest.Time(raw) > 0) || ok && got != coercetest.Time(raw) {
		t.Fatalf("time in %s: %d, %v, want %d", raw, got, ok, coercetest.Time(raw))
	}
	if got := string(r.Number(raw)); got != coercetest.Number(raw) {
		t.Fatalf("number in %s: %q, want %q", raw, got, coercetest.Number(raw))
	}
}

func quote(s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return quoted
}

// TestReaderAgreesWithTheReferenceOnDamagedDates puts each byte at each position of valid and
// invalid dates.
func TestReaderAgreesWithTheReferenceOnDamagedDates(t *testing.T) {
	r := newReader()
	for _, date := range []string{
		"2020-06-19T17:39:30.692Z", "1970-01-01T00:00:00.001Z", "9999-12-31T23:59:59.999Z", "2024-02-29T09:08:07.060Z",
		"2100-02-29T00:00:00.000Z", "2021-13-01T00:00:00.000Z", "2021-00-10T24:60:60.000Z", "1969-12-31T23:59:59.999Z",
	} {
		for i := range date {
			for c := range 256 {
				s := []byte(date)
				s[i] = byte(c)
				requireSame(t, r, quote(string(s)))
			}
		}
	}
}

// FuzzReader compares a Reader with the reference. It uses each input as a JSON string and as raw
// JSON.
func FuzzReader(f *testing.F) {
	for _, file := range []string{"timestamps", "mapping"} {
		calls, err := os.Open("../testdata/" + file + ".ndjson")
		if err != nil {
			f.Fatal(err)
		}
		defer calls.Close()
		for lines := bufio.NewScanner(calls); lines.Scan(); {
			var call struct {
				Timestamp  json.RawMessage
				Properties struct{ Value json.RawMessage }
			}
			_ = json.Unmarshal(lines.Bytes(), &call) // some calls are invalid on purpose
			for _, raw := range []json.RawMessage{call.Timestamp, call.Properties.Value} {
				var s string
				if json.Unmarshal(raw, &s) != nil {
					s = string(raw)
				}
				f.Add(s)
			}
		}
	}
	r := newReader()
	f.Fuzz(func(t *testing.T, s string) {
		requireSame(t, r, quote(s))
		if json.Valid([]byte(s)) && len(bytes.TrimSpace([]byte(s))) == len(s) {
			requireSame(t, r, []byte(s))
		}
	})
}

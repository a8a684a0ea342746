package transform

import (
	"encoding/json"
	"testing"
)

// TestDatesWithOneByteReplaced puts each byte at each position of valid and invalid dates.
func TestDatesWithOneByteReplaced(t *testing.T) {
	transformer := newTransformer(schema3)
	for _, date := range []string{
		"2020-06-19T17:39:30.692Z", "1970-01-01T00:00:00.001Z", "9999-12-31T23:59:59.999Z", "2024-02-29T09:08:07.060Z",
		"2100-02-29T00:00:00.000Z", "2021-13-01T00:00:00.000Z", "2021-00-10T24:60:60.000Z", "1969-12-31T23:59:59.999Z",
	} {
		for i := range date {
			for c := range 256 {
				s := []byte(date)
				s[i] = byte(c)
				quoted := must1(json.Marshal(string(s)))
				want := readTime(quoted)
				if got, ok := transformer.time(quoted); ok != (want > 0) || ok && got != want {
					t.Fatalf("%s: %d, %v, want %d", quoted, got, ok, want)
				}
			}
		}
	}
}

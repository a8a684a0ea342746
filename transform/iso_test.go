package transform

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestECMAScriptsTimesAreReadLikeAllOthers puts each byte at each position of dates, valid ones and others.
func TestECMAScriptsTimesAreReadLikeAllOthers(t *testing.T) {
	transformer := newTransformer(schema3)
	for _, date := range []string{
		"2020-06-19T17:39:30.692Z", "1970-01-01T00:00:00.001Z", "9999-12-31T23:59:59.999Z", "2024-02-29T09:08:07.060Z",
		"2100-02-29T00:00:00.000Z", "2021-13-01T00:00:00.000Z", "2021-00-10T24:60:60.000Z", "1969-12-31T23:59:59.999Z",
	} {
		for i := range date {
			for c := range 256 {
				s := []byte(date)
				s[i] = byte(c)
				fast, ok := isoMs(s)
				if plain, plainOK := dateMs(s); ok && (!plainOK || fast != plain) {
					t.Fatalf("%q: %d, but dateMs: %d, %v", s, fast, plain, plainOK)
				}
				if isDigit(byte(c)) && isDigit(date[i]) {
					if _, plainOK := dateMs(s); ok != plainOK {
						t.Fatalf("%q: %v, but dateMs: %v", s, ok, plainOK)
					}
				}
				quoted := must1(json.Marshal(string(s)))
				want := readTime(quoted)
				if got, ok := transformer.time(quoted); ok != (want > 0) || ok && got != want {
					t.Fatalf("%s: %d, %v, want %d", quoted, got, ok, want)
				}
			}
		}
	}
}

func TestMillisecondsAreWrittenLikeAllNumbers(t *testing.T) {
	check := func(n int64) {
		if got, want := string(appendMs([]byte("x"), n)), "x"+strconv.FormatInt(n, 10); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	for i := range int64(10_000) { // all that a half of eight digits can be
		check(1_000_000_000_000 + i)
		check(1_000_000_000_000 + i*10_000)
		check(i * 1_000_000_000_000)
		check(i * 100_000_000)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for n := int64(1); n > 0 && n < math.MaxInt64/10; n *= 10 {
		for _, n := range []int64{n - 1, n, n + 1, -n, n + r.Int64N(9*n)} {
			check(n)
		}
	}
	check(math.MaxInt64)
	check(math.MinInt64)
}

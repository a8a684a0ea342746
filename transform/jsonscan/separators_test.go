package jsonscan

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestStringsThatSeemToEnd puts separators behind an escape or a control character, at all offsets
// from the beginning of the string and all alignments around the limits of a window of the bitmap.
func TestStringsThatSeemToEnd(t *testing.T) {
	for _, separator := range []string{
		`\":`, `\":{`, `\",`, `\"},`, `\":"`, `\":{"`, `\","`, `\"},"`, `\":1`,
		"\x01\":\"", "\xff\",\"", `\\":"`, `":"`, `","`,
	} {
		for length := 50; length < 70; length++ {
			for pad := range 8 {
				s := strings.Repeat("x", length) + separator
				for _, document := range []string{
					`{"%[2]s":"","%[1]s":"","type":"track","a":{"b":"c"}}`,
					`{"%[2]s":"%[1]s","type":"track","a":{"b":"c"}}`,
					`{"%[2]s":{"%[1]s":"","a":{"b":"c"},"d":""},"type":"track","a":{"b":"c"}}`,
					`{"%[2]s":{"a":"%[1]s","b":{"c":"d"},"e":""},"type":"track","a":{"b":"c"}}`,
					`{"%[2]s":{"a":{"b":"%[1]s","c":"d"},"e":""},"type":"track","a":{"b":"c"}}`,
				} {
					requireSame(t, fmt.Appendf(nil, document, s, strings.Repeat("p", pad)))
				}
			}
		}
	}
}

// TestNamesThatDifferLate replaces each byte of each wanted name.
func TestNamesThatDifferLate(t *testing.T) {
	const document = `{"type":"track","batch":7,"anonymousId":"a","originalTimestamp":"2020-06-19T17:39:30.692Z",` +
		`"properties":{"value":7},"context":{"device":{"id":"i"}}}`
	for _, name := range []string{
		"type", "batch", "anonymousId", "originalTimestamp", "properties", "value", "context", "device", "id",
	} {
		for i := range name {
			other := []byte(name)
			other[i]++
			requireSame(t, []byte(strings.Replace(document, name, string(other), 1)))
		}
	}
}

// TestRandomDocuments nests objects and arrays at random, sometimes deeper than 64, and damages
// some of them.
func TestRandomDocuments(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var value func(b *bytes.Buffer, straight, depth int)
	value = func(b *bytes.Buffer, straight, depth int) {
		kind := r.IntN(10)
		if straight > 0 {
			kind = 8 - r.IntN(4)/3
		} else if depth <= 0 {
			kind = r.IntN(6)
		}
		switch {
		case kind < 4:
			fmt.Fprintf(b, "%q", strings.Repeat("s", r.IntN(12)))
		case kind < 6:
			b.WriteString([]string{"1", "-2.5e7", "true", "null", "{}", "[]"}[r.IntN(6)])
		default:
			brackets, members := "[]", 1+r.IntN(3)
			if kind > 7 || kind == 6 {
				brackets = "{}"
			}
			b.WriteByte(brackets[0])
			for i := range members {
				if i > 0 {
					b.WriteByte(',')
				}
				if brackets == "{}" {
					fmt.Fprintf(b, "%q:", []string{"a", "value", "x y", ""}[r.IntN(4)])
				}
				if i == members/2 {
					value(b, straight-1, depth-1)
				} else {
					value(b, 0, min(depth-1, 2))
				}
			}
			b.WriteByte(brackets[1])
		}
	}
	for i := range 2000 {
		var b bytes.Buffer
		b.WriteString(`{"type":"track","x":`)
		value(&b, i%4*i%70, 4)
		b.WriteString(`,"properties":{"p":`)
		value(&b, 0, 4)
		b.WriteString(`}}`)
		document := b.Bytes()
		requireSame(t, document)
		for range 3 {
			damaged := bytes.Clone(document)
			damaged[r.IntN(len(damaged))] = `{}[]:,"1x `[r.IntN(10)]
			requireSame(t, damaged)
		}
	}
}

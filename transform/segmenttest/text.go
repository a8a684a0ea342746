package segmenttest

import (
	"strconv"
	"time"
)

// An object is made so: a comma precedes each member, and in the end the first comma becomes the brace.

// open begins an object and returns where it begins, for close.
func (g *Generator) open() int { return len(g.buf) }

// close ends the object that began at start.
func (g *Generator) close(start int) {
	if len(g.buf) == start {
		g.buf = append(g.buf, '{')
	}
	g.buf[start] = '{'
	g.buf = append(g.buf, '}')
}

// name makes the name of a member.
func (g *Generator) name(name string) {
	g.buf = append(g.buf, `,"`...)
	g.buf = append(g.buf, name...)
	g.buf = append(g.buf, `":`...)
}

// raw makes a member whose value is as given.
func (g *Generator) raw(name, value string) {
	g.name(name)
	g.buf = append(g.buf, value...)
}

// text makes a member whose value is a string of these parts, which are escaped already.
func (g *Generator) text(name string, parts ...string) {
	g.name(name)
	g.buf = append(g.buf, '"')
	for _, part := range parts {
		g.buf = append(g.buf, part...)
	}
	g.buf = append(g.buf, '"')
}

// integer makes a member whose value is a whole number.
func (g *Generator) integer(name string, value int64) {
	g.name(name)
	g.buf = strconv.AppendInt(g.buf, value, 10)
}

// price makes a member whose value is a number with two digits after the point, in quotes if given any.
func (g *Generator) price(name, quote string) {
	cents := g.rng.IntN(50_000)
	g.raw(name, quote)
	g.buf = strconv.AppendInt(g.buf, int64(cents/100), 10)
	g.buf = append(g.buf, '.', byte('0'+cents/10%10), byte('0'+cents%10))
	g.buf = append(g.buf, quote...)
}

// id makes a member whose value is a prefix and so many random digits.
func (g *Generator) id(name, prefix string, digits int) {
	g.name(name)
	g.buf = append(g.buf, '"')
	g.buf = append(g.buf, prefix...)
	for digits > 0 {
		bits := g.rng.Uint64()
		for range min(digits, 16) {
			g.buf = append(g.buf, "0123456789abcdef"[bits&15])
			bits >>= 4
		}
		digits -= 16
	}
	g.buf = append(g.buf, '"')
}

// firstCall is the time of record 0. A record comes each 25 ms: the truth must not depend on the clock.
var firstCall = time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)

// at makes a member whose value is the time of the record, and so many milliseconds.
func (g *Generator) at(name string, ms int64) {
	t := firstCall.Add(time.Duration(25*g.n+ms) * time.Millisecond)
	g.name(name)
	g.buf = t.AppendFormat(g.buf, `"2006-01-02T15:04:05.000Z"`)
}

// pick draws one of the texts.
func (g *Generator) pick(texts ...string) string { return texts[g.rng.IntN(len(texts))] }

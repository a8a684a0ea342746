package segmenttest

import (
	"strconv"
	"time"
)

// Each member of an object is written with a leading comma. The close method then replaces the
// first comma with the opening brace.

// open starts an object and returns its position, for close.
func (g *Generator) open() int { return len(g.buf) }

// close closes the object opened at start.
func (g *Generator) close(start int) {
	if len(g.buf) == start {
		g.buf = append(g.buf, '{')
	}
	g.buf[start] = '{'
	g.buf = append(g.buf, '}')
}

// name appends the name of an object member.
func (g *Generator) name(name string) {
	g.buf = append(g.buf, `,"`...)
	g.buf = append(g.buf, name...)
	g.buf = append(g.buf, `":`...)
}

// raw appends a member with a JSON value.
func (g *Generator) raw(name, value string) {
	g.name(name)
	g.buf = append(g.buf, value...)
}

// text appends a member with a string value, which is the concatenation of parts. The parts must
// already be escaped.
func (g *Generator) text(name string, parts ...string) {
	g.name(name)
	g.buf = append(g.buf, '"')
	for _, part := range parts {
		g.buf = append(g.buf, part...)
	}
	g.buf = append(g.buf, '"')
}

// integer appends a member with an integer value.
func (g *Generator) integer(name string, value int64) {
	g.name(name)
	g.buf = strconv.AppendInt(g.buf, value, 10)
}

// price appends a member whose value is a random number with two decimal places. quote is written
// before and after the number.
func (g *Generator) price(name, quote string) {
	cents := g.rng.IntN(50_000)
	g.raw(name, quote)
	g.buf = strconv.AppendInt(g.buf, int64(cents/100), 10)
	g.buf = append(g.buf, '.', byte('0'+cents/10%10), byte('0'+cents%10))
	g.buf = append(g.buf, quote...)
}

// id appends a member with a string value: prefix and the given number of random hex digits.
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

// firstCall is the time of record 0. Each record is 25 ms later than the previous one. The times
// are fixed, so that the records do not depend on the clock.
var firstCall = time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)

// at appends a member with the given name, whose value is the record's time plus ms milliseconds.
func (g *Generator) at(name string, ms int64) {
	t := firstCall.Add(time.Duration(25*g.n+ms) * time.Millisecond)
	g.name(name)
	g.buf = t.AppendFormat(g.buf, `"2006-01-02T15:04:05.000Z"`)
}

// pick returns one of the given texts at random.
func (g *Generator) pick(texts ...string) string { return texts[g.rng.IntN(len(texts))] }

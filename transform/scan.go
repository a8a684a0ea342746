package transform

import "math/bits"

// maxDepth is how deep arrays and objects may nest: as deep as encoding/json allows.
const maxDepth = 10_000

// scanner validates JSON (RFC 8259) and finds where values end.
//
// Its functions take the index of a first byte and return the index just past the last. Where the document is invalid
// they return the complement, ^p, of the index of a byte that is wrong, which is negative; p is len(b) where something
// is missing at the end.
type scanner struct {
	b     []byte // the document
	marks []byte // see mark.go

	stack   []uint64 // scratch of skip
	tooDeep bool     // the document is invalid because of maxDepth
}

// begin makes b the document.
func (s *scanner) begin(b []byte) {
	s.b = b
	s.setMarks(b)
	s.stack = s.stack[:0]
	s.tooDeep = false
}

// skip validates the value at b[p], within depth arrays and objects. It does not recurse: a deep document costs a bit
// for each level.
func (s *scanner) skip(p, depth int) int {
	b, marks := s.b, s.marks

	// The arrays and objects that are open within the value. The lowest bit of objects is for the innermost: 1 if it is an
	// object. Whenever its 64 bits are used up, they move to s.stack.
	var objects uint64
	open := 0

	// The marks from b[base] on, without those in front of b[p]; 0 if they are to be looked up.
	var m uint64
	base := 0

value:
	if at(b, p) <= ' ' {
		p = space(b, p)
	}
	switch c := at(b, p); c {
	case '"':
		p++
		if q := next(marks, p); ends(b, p, q) {
			p = q + 1
		} else if p = s.str(p); p < 0 {
			return p
		}
	case '{', '[':
		if depth+open >= maxDepth {
			s.tooDeep = true
			return ^p
		}
		if p = space(b, p+1); is(b, p, c+2) { // in ASCII, the closing bracket is two above the opening one
			p++
			break
		}
		if open%64 == 0 && open > 0 {
			s.stack = append(s.stack, objects)
		}
		open++
		objects <<= 1
		if c == '{' {
			objects++
			goto name
		}
		goto value
	default:
		if p = scalar(b, p); p < 0 {
			return p
		}
	}

after:
	if open == 0 {
		return p
	}
	if at(b, p) <= ' ' {
		p = space(b, p)
	}
	if is(b, p, ',') {
		p++
		if objects&1 == 0 {
			goto value
		}
		goto name
	}
	if !is(b, p, ']'+byte(objects&1)*('}'-']')) {
		return ^p
	}
	p++
	open--
	objects >>= 1
	if open%64 == 0 && open > 0 {
		objects = s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
	}
	goto after

name:
	if !is(b, p, '"') {
		if p = space(b, p); !is(b, p, '"') {
			return ^p
		}
	}
	p++
	m = 0

plain: // b[p] is the first byte of a name; see glue.go
	if m == 0 {
		base, m = p, window(marks, p)
	}
	q := base + bits.TrailingZeros64(m)
	switch g := glue(b, q); {
	case m == 0: // a long name
	case g&0xffffff == nameString:
		if m = clearTwo(m); m == 0 {
			base = q + 3
			m = window(marks, base)
		}
		end := base + bits.TrailingZeros64(m)
		switch g := glue(b, end); {
		case m != 0 && g&0xffffff == stringName:
			p, m = end+3, clearTwo(m)
			goto plain
		case m != 0 && g == closeName && objects&2 != 0 && open%64 > 1:
			open--
			objects >>= 1
			p, m = end+4, clearTwo(m)
			goto plain
		case m != 0 && byte(g) == '"':
			p = end + 1
			goto after
		}
		p = q + 2
		goto value
	case g == nameOpen && open%64 > 0 && depth+open < maxDepth:
		open++
		objects = objects<<1 | 1
		p, m = q+4, clearTwo(m)
		goto plain
	case g&0xffff == nameValue:
		p = q + 2
		goto value
	}

	if p = s.str(p); p < 0 {
		return p
	}
	if !is(b, p, ':') {
		if p = space(b, p); !is(b, p, ':') {
			return ^p
		}
	}
	p++
	goto value
}

// at returns b[p], or a zero byte behind the end of b, which is wrong everywhere in JSON.
func at(b []byte, p int) byte {
	if uint(p) < uint(len(b)) {
		return b[p]
	}
	return 0
}

// is says whether b[p] is c.
func is(b []byte, p int, c byte) bool { return uint(p) < uint(len(b)) && b[p] == c }

// space returns the index of the first byte from b[p] on that is not white space.
func space(b []byte, p int) int {
	for p < len(b) && b[p] <= ' ' && (b[p] == ' ' || b[p] == '\n' || b[p] == '\r' || b[p] == '\t') {
		p++
	}
	return p
}

// next returns the index of the first marked byte from b[p] on, or more than p+56.
func next(marks []byte, p int) int { return p + bits.TrailingZeros64(window(marks, p)) }

// ends says whether b[q], q being next(marks, p), is the quote that ends the string whose first byte is b[p].
func ends(b []byte, p, q int) bool { return is(b, q, '"') && q-p <= 56 }

package jsonscan

import "math/bits"

// skip validates the value at b[p], within depth arrays and objects. It does not recurse, so a deep
// document costs one bit per level.
func (s *Scanner) skip(p, depth int) int {
	b, bitmap := s.b, s.bitmap

	// One bit per array or object that is open within the value: 1 for an object. The lowest bit is
	// the innermost one. Whenever all 64 bits are in use, they move to s.stack.
	var objects uint64
	open := 0

	// The window of the bitmap from b[base] on, without the bits in front of b[p]; 0 if it must be
	// loaded.
	var m uint64
	base := 0

value:
	if at(b, p) <= ' ' {
		p = space(b, p)
	}
	switch c := at(b, p); c {
	case '"':
		p++
		if q := next(bitmap, p); ends(b, p, q) {
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

plain: // b[p] is the first byte of a name; see separators.go
	if m == 0 {
		base, m = p, window(bitmap, p)
	}
	q := base + bits.TrailingZeros64(m)
	switch sep := separator(b, q); {
	case m == 0: // a long name
	case sep&0xffffff == nameString:
		if m = clearTwo(m); m == 0 {
			base = q + 3
			m = window(bitmap, base)
		}
		end := base + bits.TrailingZeros64(m)
		switch sep := separator(b, end); {
		case m != 0 && sep&0xffffff == stringName:
			p, m = end+3, clearTwo(m)
			goto plain
		case m != 0 && sep == closeName && objects&2 != 0 && open%64 > 1:
			open--
			objects >>= 1
			p, m = end+4, clearTwo(m)
			goto plain
		case m != 0 && byte(sep) == '"':
			p = end + 1
			goto after
		}
		p = q + 2
		goto value
	case sep == nameOpen && open%64 > 0 && depth+open < maxDepth:
		open++
		objects = objects<<1 | 1
		p, m = q+4, clearTwo(m)
		goto plain
	case sep&0xffff == nameValue:
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

// at returns b[p], or past the end of b a zero byte, which JSON allows nowhere.
func at(b []byte, p int) byte {
	if uint(p) < uint(len(b)) {
		return b[p]
	}
	return 0
}

// is reports whether b[p] is c.
func is(b []byte, p int, c byte) bool { return uint(p) < uint(len(b)) && b[p] == c }

// space returns the index of the first byte from b[p] on that is not white space.
func space(b []byte, p int) int {
	for p < len(b) && b[p] <= ' ' && (b[p] == ' ' || b[p] == '\n' || b[p] == '\r' || b[p] == '\t') {
		p++
	}
	return p
}

// next returns the index of the first byte from b[p] on whose bit is 1, or more than p+56.
func next(bitmap []byte, p int) int { return p + bits.TrailingZeros64(window(bitmap, p)) }

// ends reports whether b[q], where q is next(bitmap, p), is the quote that ends the string that
// begins at b[p].
func ends(b []byte, p, q int) bool { return is(b, q, '"') && q-p <= 56 }

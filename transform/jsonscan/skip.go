package jsonscan

import "math/bits"

// skip validates the value at b[p]. depth is the number of enclosing arrays and objects. The method
// does not recurse: each nesting level takes one bit.
func (s *Scanner) skip(p, depth int) int {
	b, bitmap := s.b, s.bitmap

	// objects has one bit per open array or object in the value, with the innermost in the lowest
	// bit. The bit is 1 for an object. If another array or object opens when all 64 bits are in
	// use, the bits move to s.stack.
	var objects uint64
	open := 0

	// m is the bitmap window that begins at b[base], with the bits before b[p] cleared. If m is 0,
	// the window must be loaded.
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
		if p = space(b, p+1); is(b, p, c+2) { // in ASCII, c+2 is the closing bracket
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

// at returns b[p], or 0 past the end of b. A zero byte is never valid in JSON.
func at(b []byte, p int) byte {
	if uint(p) < uint(len(b)) {
		return b[p]
	}
	return 0
}

// is reports whether b[p] is c.
func is(b []byte, p int, c byte) bool { return uint(p) < uint(len(b)) && b[p] == c }

// space returns the index of the first byte at or after b[p] that is not white space.
func space(b []byte, p int) int {
	for p < len(b) && b[p] <= ' ' && (b[p] == ' ' || b[p] == '\n' || b[p] == '\r' || b[p] == '\t') {
		p++
	}
	return p
}

// next returns the index of the first byte at or after b[p] whose bit in the bitmap is 1. If the
// window contains no 1 bit, the result is greater than p+56.
func next(bitmap []byte, p int) int { return p + bits.TrailingZeros64(window(bitmap, p)) }

// ends reports whether the string whose content begins at b[p] ends with the quote at b[q]. q must
// be next(bitmap, p).
func ends(b []byte, p, q int) bool { return is(b, q, '"') && q-p <= 56 }

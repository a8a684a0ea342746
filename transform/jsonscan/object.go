package jsonscan

import "math/bits"

// object validates the object that begins at b[p] and records the spans of f's descendants. depth
// is the number of enclosing arrays and objects. The method recurses only along wanted paths.
func (s *Scanner) object(p int, f *Field, depth int) int {
	if depth >= maxDepth {
		s.tooDeep = true
		return ^p
	}
	b, bitmap := s.b, s.bitmap
	if p = space(b, p+1); is(b, p, '}') {
		return p + 1
	}

name:
	if !is(b, p, '"') {
		if p = space(b, p); !is(b, p, '"') {
			return ^p
		}
	}
	p++
plain: // b[p] is the first byte of a name; see separators.go
	var child *Field
	var c byte // first byte of the value
	base, m := p, window(bitmap, p)
	q := p + bits.TrailingZeros64(m)
	if sep := separator(b, q); m != 0 && sep&0xffff == nameValue && p >= 0 && p < len(b)-7 {
		prefix := load(b[p:p+8]) & (1<<(8*uint(q-p)) - 1)
		switch e := &f.table[f.index(prefix, q-p)]; { // the common cases of f.child, inlined
		case e.field == nil:
		case e.prefix == prefix && len(e.name) == q-p && q-p <= 8:
			child = e.field
		default:
			child = f.child(prefix, b[p:q])
		}
		p = q + 2
		c = byte(sep >> 16)
		m = clearTwo(m)
	} else {
		m = 0
		if child, p = s.name(p, f); p < 0 {
			return p
		}
		if !is(b, p, ':') {
			if p = space(b, p); !is(b, p, ':') {
				return ^p
			}
		}
		p++
		c = at(b, p)
	}
	if c <= ' ' {
		p = space(b, p)
		c = at(b, p)
	}

	start := p
	if child != nil && child.table != nil && s.spans[child.slot].end > 0 {
		clear(s.spans[child.slot:child.end]) // repeated or inherited: discard the old values
	}
	switch c {
	case '"':
		p++
		if m == 0 {
			base, m = p, window(bitmap, p)
		}
		end := base + bits.TrailingZeros64(m)
		if m != 0 && separator(b, end)&0xffffff == stringName {
			if child != nil {
				s.spans[child.slot] = span{start, end + 1}
			}
			p = end + 3
			goto plain
		}
		p = s.str(p)
	case '{':
		if child != nil && child.table != nil {
			p = s.object(p, child, depth+1)
		} else {
			p = s.skip(p, depth+1)
		}
	case '[':
		p = s.skip(p, depth+1)
	default:
		p = scalar(b, p)
	}
	if p < 0 {
		return p
	}
	if child != nil {
		s.spans[child.slot] = span{start, p}
	}

	if at(b, p) <= ' ' {
		p = space(b, p)
	}
	switch at(b, p) {
	case ',':
		p++
		goto name
	case '}':
		return p + 1
	default:
		return ^p
	}
}

// name validates a name that may contain escapes. It returns the child of f with that name, or nil,
// and the index just past the closing quote. b[p] is the first byte after the opening quote.
func (s *Scanner) name(p int, f *Field) (*Field, int) {
	end := s.str(p)
	if end < 0 {
		return nil, end
	}
	name := s.Text(s.b[p-1 : end])
	return f.child(prefix8(name), name), end
}

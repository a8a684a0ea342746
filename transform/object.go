package transform

import "math/bits"

// object validates the object that opens at b[p], within depth arrays and objects, and notes where the values are that n
// and the nodes below it stand for. It returns like skip. It recurses only along the configured paths.
func (t *Transformer) object(p int, n *node, depth int) int {
	if depth >= maxDepth {
		t.tooDeep = true
		return ^p
	}
	b, marks := t.b, t.marks
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
plain: // b[p] is the first byte of a name; see glue.go
	var child *node
	var c byte // the first of the value
	base, m := p, window(marks, p)
	q := p + bits.TrailingZeros64(m)
	if g := glue(b, q); m != 0 && g&0xffff == nameValue && p >= 0 && p < len(b)-7 {
		h := load(b[p:p+8]) & (1<<(8*uint(q-p)) - 1)
		switch e := &n.table[n.index(h, q-p)]; { // the usual ends of n.child, without a call
		case e.node == nil:
		case e.head == h && len(e.name) == q-p && q-p <= 8:
			child = e.node
		default:
			child = n.child(h, b[p:q])
		}
		p = q + 2
		c = byte(g >> 16)
		m = clearTwo(m)
	} else {
		m = 0
		if child, p = t.name(p, n); p < 0 {
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
	if child != nil && child.table != nil && t.spans[child.slot].end > 0 {
		clear(t.spans[child.slot:child.end]) // a repeated name, or inherited: forget what was found in it
	}
	switch c {
	case '"':
		p++
		if m == 0 {
			base, m = p, window(marks, p)
		}
		end := base + bits.TrailingZeros64(m)
		if m != 0 && glue(b, end)&0xffffff == stringName {
			if child != nil {
				t.spans[child.slot] = span{start, end + 1}
			}
			p = end + 3
			goto plain
		}
		p = t.str(p)
	case '{':
		if child != nil && child.table != nil {
			p = t.object(p, child, depth+1)
		} else {
			p = t.skip(p, depth+1)
		}
	case '[':
		p = t.skip(p, depth+1)
	default:
		p = scalar(b, p)
	}
	if p < 0 {
		return p
	}
	if child != nil {
		t.spans[child.slot] = span{start, p}
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

// name validates a name that may hold escapes; b[p] is the first byte after its quote. It returns n's child of that name,
// or nil, and the index just past the name.
func (t *Transformer) name(p int, n *node) (*node, int) {
	end := t.str(p)
	if end < 0 {
		return nil, end
	}
	name := t.text(t.b[p-1 : end])
	return n.child(head(name), name), end
}

// raw returns the value that was found for n, as it stands in the record; nil if it is absent.
func (t *Transformer) raw(n *node) []byte {
	s := t.spans[n.slot]
	if s.end == 0 {
		return nil
	}
	return t.b[s.start:s.end]
}

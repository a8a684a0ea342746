package transform

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// The functions of this file validate JSON (RFC 8259) and find where a value ends. Each takes the index of the value's
// first byte and returns the index just past its last. If the value is invalid, it returns the complement, ^i, of the
// index of the first byte that is wrong, which is negative; i is len(b) if the document ends too early.

// maxDepth is how deep arrays and objects may nest: as deep as encoding/json allows.
const maxDepth = 10_000

// skip validates the value at b[p], within depth arrays and objects. It does not recurse: a deep document costs a byte
// of t.stack for each level.
func (t *Transformer) skip(b []byte, p, depth int) int {
	stack := t.stack[:0] // the open arrays ('[') and objects ('{')
	var open byte

value:
	p = space(b, p)
	if p >= len(b) {
		return ^len(b)
	}
	switch c := b[p]; c {
	case '"':
		p = str(b, p+1)
	case '{', '[':
		if depth+len(stack) >= maxDepth {
			t.tooDeep = true
			return ^p
		}
		p = space(b, p+1)
		if p < len(b) && b[p] == c+2 { // in ASCII, the closing bracket is two above the opening one
			p++
			goto after
		}
		stack = append(stack, c)
		t.stack = stack
		if c == '{' {
			goto name
		}
		goto value
	default:
		p = scalar(b, p)
	}
	if p < 0 {
		return p
	}

after:
	if len(stack) == 0 {
		return p
	}
	p = space(b, p)
	if p >= len(b) {
		return ^len(b)
	}
	open = stack[len(stack)-1]
	switch b[p] {
	case ',':
		p++
		if open == '{' {
			goto name
		}
		goto value
	case open + 2:
		p++
		stack = stack[:len(stack)-1]
		goto after
	default:
		return ^p
	}

name:
	p = space(b, p)
	if p >= len(b) || b[p] != '"' {
		return ^p
	}
	if p = str(b, p+1); p < 0 {
		return p
	}
	p = space(b, p)
	if p >= len(b) || b[p] != ':' {
		return ^p
	}
	p++
	goto value
}

// space returns the index of the first byte from b[p] on that is not white space.
func space(b []byte, p int) int {
	for p < len(b) && b[p] <= ' ' && (b[p] == ' ' || b[p] == '\n' || b[p] == '\r' || b[p] == '\t') {
		p++
	}
	return p
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, by the high bit of its byte, the first byte of w that is a quote, a backslash, a control character or
// not ASCII. Marks above the first mean nothing: the subtractions may have borrowed. It is 0 if there is none.
func special(w uint64) uint64 {
	return ((w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones) | w) & highs
}

// str validates a string; b[p] is the first byte after its opening quote.
func str(b []byte, p int) int {
	for {
		for p+8 <= len(b) {
			m := special(binary.LittleEndian.Uint64(b[p:]))
			if m != 0 {
				p += bits.TrailingZeros64(m) / 8
				break
			}
			p += 8
		}
		if p >= len(b) {
			return ^len(b)
		}
		switch c := b[p]; {
		case c == '"':
			return p + 1
		case c == '\\':
			if p = escape(b, p+1); p < 0 {
				return p
			}
		case c < ' ':
			return ^p
		case c < utf8.RuneSelf:
			p++
		default:
			r, size := utf8.DecodeRune(b[p:])
			if r == utf8.RuneError && size == 1 {
				return ^p
			}
			p += size
		}
	}
}

// escape validates an escape; b[p] is the byte after the backslash.
func escape(b []byte, p int) int {
	if p >= len(b) {
		return ^p
	}
	switch b[p] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return p + 1
	case 'u':
		for i := p + 1; i < p+5; i++ {
			if i >= len(b) || !isHex(b[i]) {
				return ^i
			}
		}
		return p + 5
	}
	return ^p
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// scalar validates a number, true, false or null.
func scalar(b []byte, p int) int {
	switch b[p] {
	case 't':
		return literal(b, p, "true")
	case 'f':
		return literal(b, p, "false")
	case 'n':
		return literal(b, p, "null")
	}
	return number(b, p)
}

func literal(b []byte, p int, want string) int {
	for i := range len(want) {
		if p+i >= len(b) || b[p+i] != want[i] {
			return ^(p + i)
		}
	}
	return p + len(want)
}

func number(b []byte, p int) int {
	if p < len(b) && b[p] == '-' {
		p++
	}
	if p < len(b) && b[p] == '0' {
		p++
	} else if p = digits(b, p); p < 0 {
		return p
	}
	if p < len(b) && b[p] == '.' {
		if p = digits(b, p+1); p < 0 {
			return p
		}
	}
	if p < len(b) && b[p]|0x20 == 'e' {
		p++
		if p < len(b) && (b[p] == '+' || b[p] == '-') {
			p++
		}
		return digits(b, p)
	}
	return p
}

// digits validates one or more digits.
func digits(b []byte, p int) int {
	start := p
	for p < len(b) && isDigit(b[p]) {
		p++
	}
	if p == start {
		return ^p
	}
	return p
}

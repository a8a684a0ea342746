package jsonscan

import (
	"math/bits"
	"unicode/utf8"
)

// str validates a string. b[p] is the first byte after the opening quote.
func (s *Scanner) str(p int) int {
	b := s.b
	for {
		m := window(s.bitmap, p)
		if m == 0 {
			p += 57
			continue
		}
		p += bits.TrailingZeros64(m)
		switch c := at(b, p); {
		case c == '"':
			return p + 1
		case c == '\\':
			if p = escape(b, p+1); p < 0 {
				return p
			}
		case c < ' ':
			return ^p
		default:
			r, size := utf8.DecodeRune(b[p:])
			if r == utf8.RuneError && size == 1 {
				return ^p
			}
			p += size
		}
	}
}

// escape validates an escape sequence. b[p] is the byte after the backslash.
func escape(b []byte, p int) int {
	switch at(b, p) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return p + 1
	case 'u':
		for i := p + 1; i < p+5; i++ {
			if !isHex(at(b, i)) {
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

// scalar validates a number, true, false, or null.
func scalar(b []byte, p int) int {
	switch at(b, p) {
	case 't':
		return literal(b, p, "true")
	case 'f':
		return literal(b, p, "false")
	case 'n':
		return literal(b, p, "null")
	}
	return number(b, p)
}

// literal validates the given literal.
func literal(b []byte, p int, want string) int {
	if end := p + len(want); end <= len(b) && string(b[p:end]) == want {
		return end
	}
	return ^p
}

// IsNumber reports whether b is a JSON number without surrounding white space.
func IsNumber(b []byte) bool { return number(b, 0) == len(b) }

// number validates a number.
func number(b []byte, p int) int {
	if at(b, p) == '-' {
		p++
	}
	if at(b, p) == '0' {
		p++
	} else if p = digits(b, p); p < 0 {
		return p
	}
	if at(b, p) == '.' {
		if p = digits(b, p+1); p < 0 {
			return p
		}
	}
	if at(b, p)|0x20 == 'e' {
		p++
		if c := at(b, p); c == '+' || c == '-' {
			p++
		}
		return digits(b, p)
	}
	return p
}

// digits validates one or more digits.
func digits(b []byte, p int) int {
	start := p
	for isDigit(at(b, p)) {
		p++
	}
	if p == start {
		return ^p
	}
	return p
}

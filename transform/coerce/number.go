package coerce

import (
	"bytes"
	"strconv"
	"unicode"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Number returns the finite number in raw as a JSON number. raw can be a JSON number, or a string
// that Segment reads as one. If there is no such number, Number returns nil. The result can be part
// of raw or of the text decoded from raw, and is valid until Number or Time is called again.
func (r *Reader) Number(raw []byte) []byte {
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		if raw = r.text(raw); !jsonscan.IsNumber(raw) {
			r.scratch = appendDecimal(r.scratch[:0], bytes.TrimFunc(raw, isJSSpace))
			raw = r.scratch
		}
	} else if !isNumber(raw[0]) {
		return nil
	}
	if len(raw) == 0 || !isFinite(raw) {
		return nil
	}
	return raw
}

// isJSSpace reports whether ECMAScript, and therefore Segment's code, ignores r around a number.
func isJSSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', '\u2028', '\u2029', '\ufeff':
		return true
	}
	return unicode.Is(unicode.Zs, r)
}

// appendDecimal converts s, a decimal number in ECMAScript's syntax, to a JSON number and appends
// the result. Unlike JSON, ECMAScript allows a plus sign, leading zeros, and a point without digits
// before or after it. If s is not a decimal number, appendDecimal appends nothing.
func appendDecimal(dst, s []byte) []byte {
	out := dst
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			out = append(out, '-')
		}
		s = s[1:]
	}
	whole, rest := s[:digits(s)], s[digits(s):]
	var fraction []byte
	if len(rest) > 0 && rest[0] == '.' {
		rest = rest[1:]
		fraction, rest = rest[:digits(rest)], rest[digits(rest):]
	}
	if len(whole)+len(fraction) == 0 {
		return dst
	}
	if whole = bytes.TrimLeft(whole, "0"); len(whole) == 0 {
		whole = []byte("0")
	}
	out = append(out, whole...)
	if len(fraction) > 0 {
		out = append(out, '.')
		out = append(out, fraction...)
	}
	out = append(out, rest...) // an exponent; anything else makes the number invalid
	if !jsonscan.IsNumber(out[len(dst):]) {
		return dst
	}
	return out
}

// isFinite reports whether a JSON number is within the range of a float64. Parsers disagree on
// numbers outside this range (RFC 8259, section 6).
func isFinite(number []byte) bool {
	small := len(number) < 300 // always in range if there is no exponent
	for _, c := range number {
		if c|0x20 == 'e' {
			small = false
		}
	}
	if small {
		return true
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err == nil
}

// isNumber reports whether a value that begins with c is a number.
func isNumber(c byte) bool { return isDigit(c) || c == '-' }

func isDigit(c byte) bool { return c-'0' <= 9 }

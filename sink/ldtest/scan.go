package ldtest

import (
	"bytes"
	"encoding/json"
	"iter"
)

// Events yields the events in a request body, verbatim. The body must be a valid JSON array.
func Events(body []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := enter(body, '['); len(rest) > 0; {
			n := valueLen(rest)
			if !yield(rest[:n:n]) {
				return
			}
			rest = next(rest[n:])
		}
	}
}

// members yields the names and values in a JSON object, including duplicate names. The object must
// be valid JSON.
func members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := enter(object, '{'); len(rest) > 0; {
			n := valueLen(rest)
			name, _ := text(rest[:n])
			rest = skipSpace(rest[n:])[1:] // the colon
			rest = skipSpace(rest)
			n = valueLen(rest)
			if !yield(name, rest[:n:n]) {
				return
			}
			rest = next(rest[n:])
		}
	}
}

// DataField returns a function for Config.Identity that identifies an event by the named field in
// its data. The identity is the decoded text of a string, the verbatim JSON of any other value, or
// "" if the field is absent.
func DataField(name string) func(event []byte) string {
	return func(event []byte) string {
		value := member(member(event, "data"), name)
		if s, ok := text(value); ok {
			return s
		}
		return string(value)
	}
}

// Containing returns a function for [Server.Poison] that matches events containing substr.
func Containing(substr string) func(event []byte) bool {
	return func(event []byte) bool { return bytes.Contains(event, []byte(substr)) }
}

// member returns the value of the last member with the given name. It returns nil if there is none
// or if object is not a JSON object.
func member(object []byte, name string) (value []byte) {
	for n, v := range members(object) {
		if n == name {
			value = v
		}
	}
	return value
}

// text decodes a JSON string. It returns false if value is not a string.
func text(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// enter returns the text after the opening bracket. It returns nil if b does not start with that
// bracket, or if the array or object is empty.
func enter(b []byte, open byte) []byte {
	b = skipSpace(b)
	if len(b) == 0 || b[0] != open {
		return nil
	}
	b = skipSpace(b[1:])
	if b[0] == ']' || b[0] == '}' {
		return nil
	}
	return b
}

// next returns the text after the comma that follows a value, or nil at the closing bracket.
func next(b []byte) []byte {
	b = skipSpace(b)
	if b[0] != ',' {
		return nil
	}
	return skipSpace(b[1:])
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// valueLen returns the length of the JSON value at the start of b. The value must be valid.
func valueLen(b []byte) int {
	switch b[0] {
	case '"':
		for i := 1; ; i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
	case '{', '[':
		depth := 0
		for i := 0; ; i++ {
			switch b[i] {
			case '"':
				i += valueLen(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	default: // a number or a literal
		if n := bytes.IndexAny(b, ",]} \t\r\n"); n >= 0 {
			return n
		}
		return len(b)
	}
}

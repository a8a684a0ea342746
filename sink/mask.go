package sink

import (
	"encoding/json"
	"html"
	"regexp"
	"strings"
)

const (
	minMaskedBytes = 3 // shorter values are common in ordinary text
	minPartBytes   = 8 // shorter parts of a value are common in ordinary text
	maxMaskedBytes = 4 << 10
	maskedText     = "[masked]"
)

// mask returns the start of a response in one line, with quotes of the request body masked.
// It masks each string, property name, and number of the body that has at least minMaskedBytes
// bytes, and each part of one that has at least minPartBytes, even if the response escapes them for
// JSON or HTML. The words that every event contains remain, because responses use them to say what
// is wrong. The cost is linear in the length of the body.
func mask(response string, body []byte) string {
	cut := len(response) > maxMaskedBytes
	if cut {
		response = response[:maxMaskedBytes]
	}
	text := plain(response)
	if cut { // the end can be a part of a value, or of an escape sequence, too short to recognize
		text = text[:max(len(text)-2*minPartBytes, 0)]
	}
	quoted := map[uint64]bool{} // whether the body quotes a part of text, by its partKey
	eachPart := func(f func(from, size int, key uint64)) {
		for from := range len(text) {
			for size := minMaskedBytes; size <= min(minPartBytes, len(text)-from); size++ {
				f(from, size, partKey(text[from:from+size]))
			}
		}
	}
	eachPart(func(_, _ int, key uint64) { quoted[key] = false })
	eachValue(body, func(value []byte) {
		value = plainValue(value)
		switch string(value) {
		case "kind", "custom", "key", "userKey", "contextKeys", "creationDate", "metricValue", "data":
			return
		}
		for {
			key := partKey(value[:min(minPartBytes, len(value))])
			if known, ok := quoted[key]; ok && !known {
				quoted[key] = true
			}
			if len(value) <= minPartBytes {
				return
			}
			value = value[1:]
		}
	})
	hidden := make([]bool, len(text)) // the bytes of text to mask
	eachPart(func(from, size int, key uint64) {
		if quoted[key] {
			for i := range size {
				hidden[from+i] = true
			}
		}
	})
	var out strings.Builder
	for i := range len(text) {
		switch {
		case !hidden[i]:
			out.WriteByte(text[i])
		case i == 0 || !hidden[i-1]:
			out.WriteString(maskedText)
		}
	}
	return out.String()
}

// partKey returns the bytes of a part as a number. A part has at most minPartBytes. Parts that begin
// with NUL can have the key of a shorter part, and then too much is masked.
func partKey[T string | []byte](part T) (key uint64) {
	for i := range len(part) {
		key = key<<8 | uint64(part[i])
	}
	return key
}

// eachValue calls f with the content of each string, property name, and number in a JSON text.
func eachValue(text []byte, f func(value []byte)) {
	for i := 0; i < len(text); i++ {
		start := i
		switch c := text[i]; {
		case c == '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			f(text[start+1 : min(i, len(text))])
		case c == '-' || '0' <= c && c <= '9':
			for i+1 < len(text) && strings.IndexByte("+-.0123456789Ee", text[i+1]) >= 0 {
				i++
			}
			f(text[start : i+1])
		}
	}
}

// escapes matches an escape sequence of JSON, with one backslash or, in JSON within JSON, several.
var escapes = regexp.MustCompile(`\\+(u[dD][89abAB][0-9a-fA-F]{2}\\+u[0-9a-fA-F]{4}|u[0-9a-fA-F]{4}|[^\\]|$)`)

// plain returns text in one line of valid UTF-8, without the escape sequences of JSON and HTML.
// Texts that differ only in how often they are escaped have the same result.
func plain(text string) string {
	if strings.Contains(text, `\`) {
		text = strings.NewReplacer(`\u005c`, `\`, `\u005C`, `\`).Replace(text)
		text = escapes.ReplaceAllStringFunc(text, unescape)
	}
	for range 4 { // HTML within HTML
		if !strings.Contains(text, "&") {
			break
		}
		text = html.UnescapeString(text)
	}
	return line(text)
}

// plainValue returns plain(value). Most values are plain already, and are not copied.
func plainValue(value []byte) []byte {
	for _, c := range value {
		if c <= ' ' || c >= 0x80 || c == '\\' || c == '&' {
			return []byte(plain(string(value)))
		}
	}
	return value
}

// unescape returns the character that an escape sequence stands for.
func unescape(sequence string) string {
	switch sequence = strings.TrimLeft(sequence, `\`); sequence {
	case "":
		return ""
	case "n", "r", "t", "f":
		return " "
	case "b":
		return "\b"
	}
	if len(sequence) < len("u0000") {
		return sequence
	}
	first, second, _ := strings.Cut(sequence, `\`)
	if second = strings.TrimLeft(second, `\`); second != "" {
		second = `\` + second
	}
	var char string
	if json.Unmarshal([]byte(`"\`+first+second+`"`), &char) != nil {
		return sequence
	}
	return char
}

package preview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// SideBySide formats a Segment call and its event in two titled columns. event can also be plain
// text, such as the reason why there is no event. width is the width of the terminal. If the
// columns would be too narrow, SideBySide places the event below the call.
func SideBySide(titleLeft string, call []byte, titleRight string, event []byte, width int) string {
	const between = " │ "
	var b strings.Builder
	column := (width - utf8.RuneCountInString(between)) / 2
	if column < len(titleRight) {
		fmt.Fprintf(&b, "%s:\n%s\n%s:\n%s\n",
			Cut(titleLeft, width-1), strings.Join(outline(call, width), "\n"),
			titleRight, strings.Join(outline(event, width), "\n"))
		return b.String()
	}
	left := append([]string{Cut(titleLeft, column), ""}, outline(call, column)...)
	right := append([]string{titleRight, ""}, outline(event, column)...)
	for i := range max(len(left), len(right)) {
		var l, r string
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		line := l + strings.Repeat(" ", column-utf8.RuneCountInString(l)) + between + r
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// outline formats a JSON object as indented lines, and cuts lines that exceed the given number of
// columns. It abbreviates nested objects and arrays, except for the top-level members named in
// shown. Text that is not JSON is wrapped.
func outline(object []byte, columns int) (lines []string) {
	if depth(object) > maxIndent {
		return []string{fmt.Sprintf("{ … %s bytes, nested deeper than %d }", Number(len(object)), maxIndent)}
	}
	var b bytes.Buffer
	if err := json.Indent(&b, object, "", "  "); err != nil {
		return wrap(Printable(string(object)), columns)
	}
	end := "" // prefix of the line that ends the abbreviated value
	for line := range strings.Lines(b.String()) {
		line = Printable(strings.TrimRight(line, "\n"))
		if end != "" {
			if strings.HasPrefix(line, end) {
				lines[len(lines)-1] += " … " + strings.TrimSpace(line)
				end = ""
			}
			continue
		}
		lines = append(lines, line)
		if m := opens.FindStringSubmatch(line); m != nil && (m[1] != "  " || !shown[m[2]]) {
			end = m[1] + map[string]string{"{": "}", "[": "]"}[m[3]]
		}
	}
	for i, line := range lines {
		lines[i] = Cut(line, columns)
	}
	return lines
}

// maxIndent is the maximum nesting depth of JSON that outline indents. The size of indented JSON
// grows with the depth.
const maxIndent = 100

// depth returns the maximum number of brackets that are open at a time. It also counts brackets in
// strings.
func depth(text []byte) (deepest int) {
	open := 0
	for _, c := range text {
		switch c {
		case '{', '[':
			open++
			deepest = max(deepest, open)
		case '}', ']':
			open--
		}
	}
	return deepest
}

// opens matches a line that opens an object or an array. Its groups are the indentation, the name,
// and the bracket.
var opens = regexp.MustCompile(`^( +)"([^"]*)": ([{\[])$`)

// shown names the members of a call or an event that are not abbreviated.
var shown = map[string]bool{"properties": true, "data": true, "contextKeys": true}

// wrap breaks text at word boundaries into lines of at most the given number of columns.
func wrap(text string, columns int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + Cut(word, columns))
	}
	return append(lines, line)
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// sideBySide formats a Segment call and its event in two columns. If the columns would be too
// narrow, the event goes below the call.
func sideBySide(call, event []byte, width int) string {
	const (
		titleLeft  = "Segment call in the topic"
		titleRight = "LaunchDarkly event as received"
		between    = " │ "
	)
	var b strings.Builder
	column := (width - utf8.RuneCountInString(between)) / 2
	if column < len(titleRight) {
		fmt.Fprintf(&b, "%s:\n%s\n%s:\n%s\n",
			titleLeft, strings.Join(outline(call, width), "\n"),
			titleRight, strings.Join(outline(event, width), "\n"))
		return b.String()
	}
	left := append([]string{titleLeft, ""}, outline(call, column)...)
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

// outline formats a JSON object as lines of at most the given width. It abbreviates nested objects
// and arrays, except for the top-level members in the map shown.
func outline(object []byte, columns int) (lines []string) {
	var b bytes.Buffer
	if err := json.Indent(&b, object, "", "  "); err != nil {
		return []string{cut(string(object), columns)}
	}
	end := "" // prefix of the line that closes the abbreviated value
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, "\n")
		if end != "" {
			if strings.HasPrefix(line, end) {
				lines[len(lines)-1] += " … " + strings.TrimSpace(line)
				end = ""
			}
			continue
		}
		lines = append(lines, cut(line, columns))
		if m := opens.FindStringSubmatch(line); m != nil && (m[1] != "  " || !shown[m[2]]) {
			end = m[1] + map[string]string{"{": "}", "[": "]"}[m[3]]
		}
	}
	return lines
}

// opens matches a line that opens an object or an array. The groups capture the indentation, the
// member name, and the bracket.
var opens = regexp.MustCompile(`^( +)"([^"]*)": ([{\[])$`)

// shown contains the top-level members of calls and events that outline does not abbreviate.
var shown = map[string]bool{"properties": true, "data": true, "contextKeys": true}

// sample is a Segment call and its LaunchDarkly event.
type sample struct{ call, event []byte }

// sampler picks the first easily readable event. Such an event has a metric value, and its record
// is a single short call in printable ASCII.
type sampler struct {
	gen    *segmenttest.Generator
	picked chan sample // capacity 1, because only one sample is picked
	done   bool        // a sample has been picked
}

// inspect looks for a sample in a request received by LaunchDarkly. It must not be called
// concurrently.
func (s *sampler) inspect(r ldtest.Request) {
	if s.done || !r.Accepted {
		return
	}
	i := -1
	for event := range ldtest.Events(r.Body) {
		i++
		number, err := strconv.ParseInt(r.Identities[i], 10, 64)
		if err != nil || !bytes.Contains(event, []byte(`"metricValue"`)) {
			continue
		}
		n, _ := segmenttest.CallOf(number)
		call, calls := s.gen.Record(n)
		if len(calls) == 1 && call[0] == '{' && len(call) < 1200 && plain(call) {
			s.picked <- sample{bytes.Clone(call), bytes.Clone(event)}
			s.done = true
			return
		}
	}
}

// plain reports whether text is printable ASCII, so that every byte takes one column.
func plain(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

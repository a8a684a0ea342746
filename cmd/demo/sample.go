package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/segmentgen"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// sideBySide writes a Segment call and the event made of it in two columns, or one below the other where those would be
// too narrow.
func sideBySide(call, event []byte, width int) string {
	const titleLeft, titleRight, between = "Segment call, as it is in the topic", "LaunchDarkly event, as it was received", " │ "
	var b strings.Builder
	column := (width - utf8.RuneCountInString(between)) / 2
	if column < len(titleRight) {
		fmt.Fprintf(&b, "%s:\n%s\n%s:\n%s\n", titleLeft, strings.Join(outline(call, width), "\n"), titleRight, strings.Join(outline(event, width), "\n"))
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

// outline writes a JSON object as lines of at most so many columns. Of the objects and lists in it, only what becomes the
// event's data is shown whole.
func outline(object []byte, columns int) (lines []string) {
	var b bytes.Buffer
	if err := json.Indent(&b, object, "", "  "); err != nil {
		return []string{cut(string(object), columns)}
	}
	closing := "" // of what is left out
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, "\n")
		switch name := strings.TrimSpace(line); {
		case closing != "":
			if strings.HasPrefix(line, closing) {
				lines[len(lines)-1] += " … " + name
				closing = ""
			}
			continue
		case strings.HasPrefix(line, `  "`) && strings.HasSuffix(line, "{") && !strings.HasPrefix(name, `"properties"`) && !strings.HasPrefix(name, `"data"`):
			closing = "  }"
		case strings.HasPrefix(line, `    "`) && strings.HasSuffix(line, "{"):
			closing = "    }"
		case strings.HasPrefix(line, `    "`) && strings.HasSuffix(line, "["):
			closing = "    ]"
		}
		lines = append(lines, cut(line, columns))
	}
	return lines
}

// sample is a call and the event made of it.
type sample struct{ call, event []byte }

// sampler picks the first event that is good to look at: from a record that is one call in plain letters, with a metric's
// value and not too much else.
type sampler struct {
	gen    *segmentgen.Generator
	picked chan sample // capacity 1: it picks one only
	done   bool
}

// received looks at a request that LaunchDarkly received. It is not for concurrent use.
func (s *sampler) received(r ldtest.Request) {
	if s.done || !r.Taken {
		return
	}
	i := -1
	for event := range ldtest.Events(r.Body) {
		i++
		number, err := strconv.ParseInt(r.Identities[i], 10, 64)
		if err != nil || !bytes.Contains(event, []byte(`"metricValue"`)) {
			continue
		}
		n, _ := segmentgen.CallOf(number)
		call, calls := s.gen.Record(n)
		if len(calls) == 1 && call[0] == '{' && len(call) < 1200 && plain(call) {
			s.picked <- sample{bytes.Clone(call), bytes.Clone(event)}
			s.done = true
			return
		}
	}
}

// plain says whether every byte of a text takes one column.
func plain(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

package config

import (
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key    string // the key's path, or the variable's name where no key is meant
	Value  string // as it was given, quoted where that helps; "" where it is not to be shown
	Rule   string // what must hold, or what to do
	Origin string // file:line, or the variable's name; "" for a default
}

// Error returns "key: value: rule (origin)", without the parts that are empty.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Key + ": ")
	if p.Value != "" {
		b.WriteString(p.Value + ": ")
	}
	b.WriteString(p.Rule)
	if p.Origin != "" {
		b.WriteString(" (" + p.Origin + ")")
	}
	return b.String()
}

// Problems is everything that is wrong with a configuration: the error of [Load].
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// shown returns a value as a problem shows it. Credentials that were put in the wrong place are hidden: LaunchDarkly's
// SDK keys and access tokens, and what stands before the @ of an address.
func shown(value string) string {
	lower := strings.ToLower(value)
	for _, prefix := range []string{"sdk-", "api-"} {
		if strings.HasPrefix(lower, prefix) {
			return prefix + redacted
		}
	}
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		value = redacted + value[at:]
	}
	if value == "" || value != strings.TrimSpace(value) || strconv.Quote(value) != `"`+value+`"` {
		return strconv.Quote(value)
	}
	return value
}

// nearest returns the field among known that an unknown path was most likely meant to be. Its last part counts too, so
// that a key in the wrong section is found in its own.
func nearest(known []field, path, last string) field {
	flat := func(path string) string { return strings.ReplaceAll(path, ".", "_") }
	apart := func(f field) int {
		return min(distance(flat(path), flat(f.path)), distance(last, lastPart(f.path))+2)
	}
	return slices.MinFunc(known, func(a, b field) int { return apart(a) - apart(b) })
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// distance is the number of single-character edits between a and b, letter case aside (Levenshtein).
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

package config

import (
	"slices"
	"strconv"
	"strings"
)

// Problem is one error in a configuration.
type Problem struct {
	Key    string // path of the key, or the name of an unknown variable
	Rule   string // the broken rule, such as "must be at least 1"
	Value  string // value to display; empty if it is unhelpful or secret
	Origin string // file:line or variable name; empty for a default
}

// Error returns "key: rule, got value (origin)", omitting empty parts.
func (p Problem) Error() string {
	s := p.Key + ": " + p.Rule
	if p.Value != "" {
		s += ", got " + p.Value
	}
	if p.Origin != "" {
		s += " (" + p.Origin + ")"
	}
	return s
}

// Problems lists all errors in a configuration. [Load] returns it as an error.
type Problems []Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// displayed formats a value for display in a problem. It quotes a value that is empty, has leading
// or trailing spaces, or contains special characters. It redacts misplaced credentials:
// LaunchDarkly SDK keys, mobile keys, and access tokens, and anything before an @.
func displayed(value string) string {
	lower := strings.ToLower(value)
	for _, prefix := range []string{"sdk-", "mob-", "api-"} {
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

// nearest returns the known field closest to an unknown path. It also compares the last part of the
// path, to find a key in the wrong section. ok is false if no field is close enough to suggest.
func nearest(known []field, path, last string) (closest field, ok bool) {
	flat := func(path string) string { return strings.ReplaceAll(path, ".", "_") }
	apart := func(f field) int {
		return min(distance(flat(path), flat(f.path)), distance(last, lastPart(f.path))+2)
	}
	closest = slices.MinFunc(known, func(a, b field) int { return apart(a) - apart(b) })
	return closest, apart(closest) <= max(2, len(last)/3)
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// distance returns the number of single-character edits between a and b (Levenshtein), ignoring
// letter case.
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

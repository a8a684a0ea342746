package metriccheck

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// closest returns the name that is most easily confused with the wanted name, or "" if none is
// similar. Names are similar if they differ only in letter case, in blanks and punctuation, or in
// one other letter, in this order. counts decides between names that are equally similar.
func closest(wanted string, counts map[string]int) string {
	const dissimilar = 3
	plain := simplify(wanted)
	best, bestRank := "", dissimilar
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		rank := dissimilar
		switch simple := simplify(name); {
		case name == wanted || counts[name] == 0:
		case strings.EqualFold(name, wanted):
			rank = 0
		case simple == plain:
			rank = 1
		case min(len(simple), len(plain)) > 2 && isOneEdit([]rune(simple), []rune(plain)):
			rank = 2
		}
		if rank < bestRank || rank == bestRank && rank < dissimilar && counts[name] > counts[best] {
			best, bestRank = name, rank
		}
	}
	return best
}

// simplify returns a name in lower case, without blanks, underscores, and other punctuation.
func simplify(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// isOneEdit reports whether inserting, deleting, or replacing one letter turns a into b.
func isOneEdit(a, b []rune) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	rest := b[min(i+1, len(b)):]
	return slices.Equal(a[i:], rest) || len(a) == len(b) && slices.Equal(a[min(i+1, len(a)):], rest)
}

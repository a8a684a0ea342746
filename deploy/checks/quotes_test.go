package checks

import (
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// claimsFile lists what the documents claim, and where each claim comes from.
const claimsFile = "deploy/checks/claims.md"

// quoting are the documents whose code spans and numbers are checked.
var quoting = []string{
	"README.md", "deploy/README.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md",
	"deploy/helm/segment-to-launchdarkly/values.yaml", "consumer/doc.go", "sink/doc.go", "transform/doc.go",
	"cmd/internal/config/testdata/example.yaml", // the help texts
}

// table returns the rows of a section's table in claims.md, as pairs of cells.
func table(t *testing.T, section string) (rows [][2]string) {
	t.Helper()
	_, text, _ := strings.Cut(string(readFile(t, repository+"/"+claimsFile)), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "|\n "), `\|`, "\x00"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 2 {
			continue
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|")
		}
		rows = append(rows, [2]string{cells[0], cells[1]})
	}
	if len(rows) < 2 {
		t.Fatalf("%s has no table in the section %q", claimsFile, section)
	}
	return rows[1:] // without the header
}

// words returns a pattern for a phrase that can be wrapped over several lines.
func words(phrase string) *regexp.Regexp {
	var quoted []string
	for w := range strings.FieldsSeq(phrase) {
		quoted = append(quoted, regexp.QuoteMeta(w))
	}
	return regexp.MustCompile(strings.Join(quoted, `[\s/#]+`))
}

// quoted returns the text of a document in which values are looked for. Lines keep their numbers.
func quoted(t *testing.T, path string) string {
	t.Helper()
	text := prose(t, path)
	switch {
	case path == "CHANGELOG.md":
		parts := regexp.MustCompile(`(?m)^## `).FindAllStringIndex(text, 2)
		if len(parts) == 2 { // only the newest version
			text = text[:parts[1][0]]
		}
	case strings.HasSuffix(path, ".yaml"): // only comments that are not examples
		text = regexp.MustCompile(`(?m)^(?: *[^ #\n].*| *# {2,}.*)$`).ReplaceAllString(text, "")
	}
	return text
}

// at returns the place of an index in a document.
func at(path, text string, index int) string {
	return fmt.Sprintf("%s:%d", path, 1+strings.Count(text[:index], "\n"))
}

var (
	// notValues matches text that contains digits but quotes no value: tables of measurements, tables
	// that a test reads, code, targets of links, numbers of lists, names, and the bounds that the
	// program appends to help texts.
	notValues = regexp.MustCompile("(?s:<!-- (?:measured|tested): .*?-->.*?\n\n)|`[^`]+`" +
		`|\]\([^)]*\)|https?://\S+|(?m:^(?:// )? *\d+\. )|v\d+\.\d+\.\d+|0x\d\d|` +
		`KIP-\d+|RFC \d+|SCRAM-SHA-\d+|SHA-\d+|OAuth 2\.0|Apache-2\.0|XXH64|base64|UTF-8|schemas? [34](?: and 4)?|` +
		`b8737a8|[2345]xx|EC2|TLS 1\.2|UUIDv5|example:\d+|` +
		`(?s:Must be (?:at\s+(?:least|most)|between)\s.*?\.\n)`)
	testedBy = regexp.MustCompile(`<!-- tested: (.*?) -->`)
	// value matches a number, with its unit if it has one.
	value = regexp.MustCompile(`(?i)\b(?:\d[\d,.]*\d|\d)` +
		`(?:%|(?:ms|[smh])\b|[-\s]+(?:(?:ms|s|seconds?|minutes?|hours?|days?|weeks?|[KMG]i?B)\b))?|` +
		`\b(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|a hundred|every|per)\s+` +
		`(?:minutes?|hours?|days?|weeks?|seconds)\b|\b(?:two|three|four|five|ten|a hundred)\s+(?:events|records|fifths)\b`)
)

// Each number in the documents is part of a quote in claims.md, or of what an alert means. If the
// claim names an expression in the code, its value is that of the quote.
func TestDocumentsQuoteOnlyCheckedValues(t *testing.T) {
	claims := table(t, "Values")
	for _, c := range claims {
		checkClaim(t, c[0], c[1])
	}
	used := map[string]bool{}
	for _, path := range quoting {
		text := quoted(t, path)
		for _, name := range submatches(testedBy, text) {
			if !testExists(t, name) {
				t.Errorf("%s: there is no %s", path, name)
			}
		}
		covered := make([]bool, len(text)+1)
		for _, c := range claims {
			for _, m := range words(c[0]).FindAllStringIndex(text, -1) {
				used[c[0]] = true
				for i := m[0]; i < m[1]; i++ {
					covered[i] = true
				}
			}
		}
		for _, m := range uncovered(t, path, text) {
			if !covered[m[0]] {
				t.Errorf("%s: no check for the value %q: add its sentence to %s",
					at(path, text, m[0]), text[m[0]:m[1]], claimsFile)
			}
		}
	}
	for sentence, want := range map[string]string{
		"It waits for 17 seconds.": "17 seconds", "It waits for\nthree minutes.": "three minutes",
		"Up to 2,000 events": "2,000", "above 12.5%": "12.5%", "per week": "per week", "It is 3 MiB.": "3 MiB",
		"`10s` or schema 3": "", "<!-- measured: by hand -->\n| 5 s |\n\n6 s": "6 s",
		"<!-- tested: TestX -->\n| 5 s |\n\n6 s": "6 s",
	} {
		var found []string
		for _, m := range uncovered(t, "README.md", sentence) {
			found = append(found, sentence[m[0]:m[1]])
		}
		if got := strings.Join(found, " "); got != want {
			t.Errorf("%q quotes %q, want %q", sentence, got, want)
		}
	}
	for text, want := range map[string]float64{
		"a = 7 * 24 * time.Hour": 604800, "a = 64 << 10": 65536, "a = 10_000": 10000,
	} {
		if v, ok := evaluate(text); !ok || v != want {
			t.Errorf("%s is %v, want %v", text, v, want)
		}
	}
	for _, c := range claims {
		if !used[c[0]] {
			t.Errorf("%s: no document says %q", claimsFile, c[0])
		}
	}
}

// Each statement names tests that exist.
func TestStatementsHaveTests(t *testing.T) {
	for _, row := range table(t, "Statements") {
		tests := regexp.MustCompile(`\b(Test|Fuzz)\w+`).FindAllString(row[1], -1)
		if len(tests) == 0 {
			t.Errorf("%s: %q has no test", claimsFile, row[0])
		}
		for _, name := range tests {
			if !testExists(t, name) {
				t.Errorf("%s: %q: there is no %s", claimsFile, row[0], name)
			}
		}
	}
}

// uncovered returns the values in a document, except those that the meaning of an alert quotes from
// the alert itself.
func uncovered(t *testing.T, path, text string) (found [][]int) {
	t.Helper()
	masked := notValues.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("\x00", len(s)) })
	descriptions := map[string]string{}
	if path == "deploy/README.md" {
		for _, a := range alerts(t) {
			descriptions[a.Alert] = strings.Join(strings.Fields(a.Annotations["description"]), " ")
		}
	}
	for _, m := range value.FindAllStringIndex(masked, -1) {
		before := text[:m[0]]
		section := before[strings.LastIndex(before, "\n### ")+1:]
		name, body, _ := strings.Cut(strings.TrimPrefix(section, "### "), "\n")
		description := descriptions[name]
		phrase := strings.Join(strings.Fields(text[m[0]:m[1]]), " ")
		if description == "" || strings.Contains(body, "**Look at**") || !strings.Contains(description, phrase) {
			found = append(found, m)
		}
	}
	return found
}

// checkClaim checks where a claim comes from: `file: text` in the repository, a test, or a reason
// why no code contains it.
func checkClaim(t *testing.T, claim, source string) {
	t.Helper()
	if reason := regexp.MustCompile(`^(external|example|measured): .+`); reason.MatchString(source) {
		return
	}
	for s := range strings.SplitSeq(source, "; ") {
		if strings.HasPrefix(s, "Test") {
			if !testExists(t, s) {
				t.Errorf("%s: %q: there is no %s", claimsFile, claim, s)
			}
			continue
		}
		path, text, ok := strings.Cut(strings.Trim(s, "`"), ": ")
		content, err := os.ReadFile(repository + "/" + path)
		if !ok || err != nil {
			t.Errorf("%s: %q: %s must be a test or `file: text`, or begin with external, example, or measured",
				claimsFile, claim, s)
			continue
		}
		if !words(text).Match(content) {
			t.Errorf("%s: %q: %s no longer contains %q; correct the documents and the row", claimsFile, claim, path, text)
		}
		if v, ok := evaluate(text); ok && !slices.Contains(quantities(claim), v) {
			t.Errorf("%s: %q quotes %v, but %q is %v", claimsFile, claim, quantities(claim), text, v)
		}
	}
}

// evaluate returns the value of the expression in a text such as timeout = 10 * time.Second. A
// duration is in seconds.
func evaluate(text string) (float64, bool) {
	if _, expr, ok := strings.Cut(text, " = "); ok {
		text = expr
	} else if _, expr, ok := strings.Cut(text, "= "); ok {
		text = expr
	} else {
		return 0, false
	}
	text = strings.NewReplacer("time.Millisecond", "0.001", "time.Second", "1", "time.Minute", "60",
		"time.Hour", "3600").Replace(text)
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, text)
	if err != nil || v.Value == nil || v.Value.Kind() == constant.String {
		return 0, false
	}
	f, _ := constant.Float64Val(constant.ToFloat(v.Value))
	return f, true
}

var units = map[string]float64{
	"ms": 0.001, "s": 1, "m": 60, "h": 3600, "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400,
	"KB": 1000, "KiB": 1 << 10, "MB": 1e6, "MiB": 1 << 20, "%": 0.01,
}

// quantities returns the numbers in a sentence, in seconds or bytes if they have a unit.
func quantities(sentence string) (found []float64) {
	number := map[string]float64{
		"a": 1, "an": 1, "every": 1, "per": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
		"eight": 8, "nine": 9, "ten": 10, "a hundred": 100,
	}
	for _, m := range value.FindAllString(sentence, -1) {
		text, unit := m, ""
		if i := strings.LastIndexAny(m, " -\n"); i >= 0 {
			text, unit = m[:i], m[i+1:]
		} else {
			text = strings.TrimRight(m, "%hms")
			unit = m[len(text):]
		}
		n, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
		if err != nil {
			n = number[strings.ToLower(text)]
		}
		if scale, ok := units[unit]; ok {
			n *= scale
		} else if scale, ok := units[strings.TrimSuffix(unit, "s")]; ok {
			n *= scale
		}
		found = append(found, n)
	}
	return found
}

// The description of an alert gives the times after which it fires: its for, a range of its
// expression, or the sum of both.
func TestAlertDescriptionsGiveTheirDurations(t *testing.T) {
	ranges := regexp.MustCompile(`\[(\w+)\]`)
	times := regexp.MustCompile(`(\d+) (minute|hour)s?|(?:last|past) hour`)
	for _, a := range alerts(t) {
		possible := []time.Duration{time.Duration(a.For)}
		for _, r := range submatches(ranges, a.Expr) {
			d, err := model.ParseDuration(r)
			if err != nil {
				t.Fatal(err)
			}
			possible = append(possible, time.Duration(d), time.Duration(d+a.For))
		}
		for _, m := range times.FindAllStringSubmatch(a.Annotations["description"], -1) {
			n := 1.0
			if m[1] != "" {
				n, _ = strconv.ParseFloat(m[1], 64)
			}
			d := time.Duration(n) * time.Hour
			if m[2] == "minute" {
				d = time.Duration(n) * time.Minute
			}
			if !slices.Contains(possible, d) {
				t.Errorf("%s: the description says %q, but the alert has %v", a.Alert, m[0], possible)
			}
		}
	}
}

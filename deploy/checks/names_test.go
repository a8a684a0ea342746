package checks

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each code span names something that exists.
func TestDocumentsNameOnlyWhatExists(t *testing.T) {
	n := knownNames(t)
	used := map[string]bool{}
	for _, path := range quoting {
		if !strings.HasSuffix(path, ".md") {
			continue
		}
		for _, s := range spans(t, path) {
			used[s.text] = true
			if !n.known(s.text, path == "ARCHITECTURE.md" || path == "CONTRIBUTING.md") {
				t.Errorf("%s: `%s` is not a key, variable, metric, reason, command, flag, file, header, or text of the program; "+
					"correct it, or add it to the names in %s if it belongs to another program", s.where, s.text, claimsFile)
			}
		}
	}
	for _, row := range table(t, "Names") {
		for _, name := range submatches(codeSpan, row[0]) {
			if !used[name] {
				t.Errorf("%s: no document contains `%s`", claimsFile, name)
			}
		}
	}
	for _, wrong := range []string{
		"batch.max_event", "kafka.tsl.*", "batch.maxevents: 3", "segment_launchdarkly_sink_halt",
		"segment_launchdarkly_sink_requests_total{cod}", "no_user_keys", "check --metric", "--dryrun", "consumer/commiter.go",
		"make tests", "S2LD_KAFKA_BROKER", "/ready", "run --till TIME", "s2ld.reasons", "batch fails often",
	} {
		if n.known(wrong, false) {
			t.Errorf("`%s` is not detected", wrong)
		}
	}
}

// The table of README.md has every key, with its default.
func TestConfigurationTableHasEachDefault(t *testing.T) {
	n := knownNames(t)
	missing := map[string]bool{}
	for key := range n.keys {
		missing[key] = true
	}
	_, section, _ := strings.Cut(prose(t, "README.md"), "\n| key | default |")
	section, _, _ = strings.Cut(section, "\n\n")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `") || len(cells) < 4 {
			continue
		}
		keys, defaults := submatches(codeSpan, cells[1]), submatches(codeSpan, cells[2])
		if !strings.HasPrefix(cells[2], " `") { // the cell describes the default
			defaults = nil
		}
		parent := keys[0][:strings.LastIndex(keys[0], ".")+1]
		for i, key := range keys {
			if section, _, ok := strings.Cut(key, "."); !ok || !n.sections[section] {
				key = parent + key
			}
			prefix, wildcard := strings.CutSuffix(key, "*")
			for known, value := range n.keys {
				if known == key || known == key+"_file" || wildcard && strings.HasPrefix(known, prefix) {
					delete(missing, known)
				} else {
					continue
				}
				quoted := ""
				if len(defaults) == len(keys) {
					quoted = defaults[i]
				} else if len(defaults) > 0 {
					quoted = strings.Join(defaults, " ")
				}
				off := quoted == "" && value == "0s"
				if actual := flat(value); !wildcard && !off && quoted != actual && known == key {
					t.Errorf("README.md: the default of %s is %q, not %q", key, actual, quoted)
				}
			}
		}
	}
	for key := range missing {
		if _, isSection := n.keys[key].(map[string]any); !isSection && !n.sections[key] {
			t.Errorf("README.md: the table has no row for %s", key)
		}
	}
}

// flat returns a default as the table writes it. It returns the names of a map, and the items of a
// list.
func flat(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, fmt.Sprint(item))
		}
		return strings.Join(items, " ")
	case map[string]any:
		var items []string
		for name := range v {
			items = append(items, name)
		}
		slices.Sort(items)
		slices.Reverse(items)
		return strings.Join(items, " ")
	}
	return fmt.Sprint(value)
}

// names knows what a code span can name.
type names struct {
	keys     map[string]any  // keys of the configuration, with their defaults
	sections map[string]bool // keys that contain keys
	words    map[string]bool // keys of the chart, parts of paths, reasons, flags, commands, and names of others
	sources  string          // the Go code without tests
	all      string          // the Go code
	makefile string
}

// addKeys adds the keys of a JSON schema. A key can also be named without its first sections.
func (n *names) addKeys(schema map[string]any, path string, chart bool) {
	properties, _ := schema["properties"].(map[string]any)
	for name, s := range properties {
		full := strings.TrimPrefix(path+"."+name, ".")
		s, ok := s.(map[string]any)
		if !ok {
			continue
		}
		if !chart {
			n.keys[full] = s["default"]
			n.words["config."+full] = true
			n.words["S2LD_"+strings.ToUpper(strings.ReplaceAll(full, ".", "_"))] = true
			for i := range full {
				if full[i] == '.' {
					n.words[full[i+1:]] = true
				}
			}
		}
		n.words[full] = true
		n.sections[full] = s["properties"] != nil
		n.addKeys(s, full, chart)
	}
}

func knownNames(t *testing.T) *names {
	t.Helper()
	n := &names{
		keys: map[string]any{}, sections: map[string]bool{}, words: map[string]bool{},
		makefile: string(readFile(t, repository+"/Makefile")),
	}
	out, err := command(t, nil, "config", "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	var schema, chart map[string]any
	if err := json.Unmarshal(out, &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(readFile(t, chartDir+"/values.schema.json"), &chart); err != nil {
		t.Fatal(err)
	}
	n.addKeys(schema, "", false)
	delete(chart["properties"].(map[string]any), "config")
	n.addKeys(chart, "", true)
	for _, o := range options {
		for flag := range o {
			n.words[flag] = true
		}
	}
	for _, row := range table(t, "Names") {
		for _, m := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			n.words[m[1]] = true
		}
	}
	flag := regexp.MustCompile(`(?m)^\s+(?:-\w, )?(--[a-z-]+)`)
	subcommand := regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`)
	help := func(args ...string) string {
		out, err := command(t, nil, append(args, "--help")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, c := range submatches(subcommand, help()) {
		text := help(c)
		n.words[c] = true
		for _, f := range submatches(flag, text) {
			n.words[f], n.words[c+" "+f] = true, true
		}
		for _, sub := range submatches(subcommand, text) {
			n.words[c+" "+sub] = true
		}
	}
	for file := range strings.Lines(git(t, "ls-files")) {
		file = strings.TrimSpace(file)
		n.words[file], n.words[strings.TrimPrefix(file, "deploy/")] = true, true
		for i := range file {
			if file[i] == '/' {
				n.words[file[:i]], n.words[file[i+1:]] = true, true
				n.words[file[strings.LastIndex(file[:i], "/")+1:i]] = true
			}
		}
		if strings.HasSuffix(file, ".go") {
			text := string(readFile(t, repository+"/"+file))
			n.all += text
			if !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(file, "deploy/checks/") {
				n.sources += text
			}
		}
	}
	return n
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", repository}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

var identifier = regexp.MustCompile(`^[a-zA-Z]\w*(\.[a-zA-Z]\w*)?$`)

// known reports whether a code span names something that exists. developers can also name
// identifiers of the code.
func (n *names) known(text string, developers bool) bool {
	if n.words[text] || n.isMetric(text) {
		return true
	}
	if prefix, ok := strings.CutSuffix(text, ".*"); ok {
		return n.words[prefix]
	}
	if key, _, ok := strings.Cut(text, ": "); ok && n.words[key] {
		return true
	}
	if variable, _, ok := strings.Cut(text, "="); ok && strings.HasPrefix(text, "S2LD_") {
		return n.words[variable]
	}
	first, rest, ok := strings.Cut(text, " ")
	if ok && (fakes[first] != nil || elsewhere[text] != "") { // TestCommandsInTheTextWork runs it
		return true
	}
	if flag, value, more := strings.Cut(rest, " "); more && !strings.HasPrefix(value, "-") && n.words[first+" "+flag] {
		return true
	}
	if ok && strings.HasPrefix(first, "--") && n.words[first] {
		return true
	}
	if target, isMake := strings.CutPrefix(text, "make "); isMake {
		target, _, _ = strings.Cut(target, " ")
		return strings.Contains(n.makefile, "\n"+target+":")
	}
	if header, isHeader := strings.CutPrefix(text, "s2ld."); isHeader && header != "" {
		return strings.Contains(n.sources, `headerPrefix + "`+header+`"`)
	}
	if strings.Contains(n.sources, `"`+text+`"`) {
		return true
	}
	if ok || strings.HasPrefix(text, "/") { // a text or a path of the program
		return regexp.MustCompile(`[" ]` + regexp.QuoteMeta(text) + `\b`).MatchString(n.sources)
	}
	if developers && identifier.MatchString(text) {
		name := text[strings.LastIndex(text, ".")+1:]
		return regexp.MustCompile(`\b` + name + `\b`).MatchString(n.all)
	}
	return false
}

// isMetric reports whether the program exports the metric, with the labels in braces.
func (n *names) isMetric(text string) bool {
	text, labels, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
	name, ok := strings.CutPrefix(text, "segment_launchdarkly_")
	if !ok {
		return false
	}
	_, name, _ = strings.Cut(name, "_") // the package
	if !strings.Contains(n.sources, `"`+name+`"`) {
		return false
	}
	for _, label := range strings.FieldsFunc(labels, func(r rune) bool { return r == ',' }) {
		if !strings.Contains(n.sources, `"`+label+`"`) {
			return false
		}
	}
	return true
}

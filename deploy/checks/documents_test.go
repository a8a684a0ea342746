package checks

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// block is a code block of a document.
type block struct {
	where    string // file and line
	language string
	text     string
}

// fence matches a line that begins or ends a code block.
var fence = regexp.MustCompile("^( *)```([a-z]*)$")

// blocks returns the code blocks of a document, without the indentation of their fences.
func blocks(t *testing.T, path string) (all []block) {
	t.Helper()
	var open *block
	indent := ""
	n := 0
	for line := range strings.Lines(string(readFile(t, repository+"/"+path))) {
		n++
		m := fence.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		switch {
		case m != nil && open == nil:
			indent = m[1]
			open = &block{where: fmt.Sprintf("%s:%d", path, n+1), language: m[2]}
		case m != nil:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent)
		}
	}
	if open != nil {
		t.Fatalf("%s: the block does not end", open.where)
	}
	return all
}

// span is a code span, such as `kafka.group`, in the text of a document.
type span struct{ where, text string }

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	codeLine = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
)

// prose returns a document without its code blocks, with the same lines.
func prose(t *testing.T, path string) string {
	t.Helper()
	return codeLine.ReplaceAllStringFunc(string(readFile(t, repository+"/"+path)), func(b string) string {
		return strings.Repeat("\n", strings.Count(b, "\n"))
	})
}

// spans returns the code spans of a document.
func spans(t *testing.T, path string) (all []span) {
	t.Helper()
	text := prose(t, path)
	for _, m := range codeSpan.FindAllStringSubmatchIndex(text, -1) {
		where := fmt.Sprintf("%s:%d", path, 1+strings.Count(text[:m[0]], "\n"))
		all = append(all, span{where, strings.Join(strings.Fields(text[m[2]:m[3]]), " ")})
	}
	return all
}

// commands splits a block into its commands. A command ends at a line that completes it for the
// shell.
func (b block) commands(t *testing.T) (all []string) {
	t.Helper()
	command := ""
	for line := range strings.Lines(b.text) {
		command += line
		if strings.HasSuffix(line, "\\\n") || exec.CommandContext(t.Context(), "sh", "-n", "-c", command).Run() != nil {
			continue
		}
		all = append(all, strings.TrimSuffix(command, "\n"))
		command = ""
	}
	if command != "" {
		t.Errorf("%s: the shell cannot parse %q", b.where, command)
	}
	return all
}

var runsMake = regexp.MustCompile(`\$\(MAKE\) ([a-z-]+)`)

// part returns the recipes that a target of the Makefile runs, with those of its prerequisites and
// of the targets that it runs with make.
func part(t *testing.T, target string) string {
	t.Helper()
	text := strings.ReplaceAll(string(readFile(t, repository+"/Makefile")), "\\\n", " ")
	text = strings.ReplaceAll(text, "$(GO)", "go")
	seen := map[string]bool{}
	var collect func(target string) string
	collect = func(target string) string {
		rule := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:([^=#\n]*)(?:##.*)?\n((?:\t.*\n)*)`).
			FindStringSubmatch(text)
		if rule == nil || seen[target] {
			return ""
		}
		seen[target] = true
		recipes := "make " + target + "\n" + rule[2]
		for _, other := range append(strings.Fields(rule[1]), submatches(runsMake, rule[2])...) {
			recipes += collect(other)
		}
		return recipes
	}
	found := collect(target)
	if found == "" {
		t.Errorf("the Makefile has no target %s", target)
	}
	return found
}

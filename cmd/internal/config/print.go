package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const exampleHead = `# Configuration of segment-to-launchdarkly. Omitted keys have the defaults shown here.
#
# An environment variable overrides its key: S2LD_KAFKA_SASL_USERNAME overrides kafka.sasl.username.
# In variables, separate list elements with commas and mapping entries with semicolons:
#   S2LD_KAFKA_TOPICS=segment,segment-eu
#   S2LD_LAUNCHDARKLY_CONTEXTS=user=userId,anonymousId;account=groupId
#   S2LD_KAFKA_SASL_EXTENSIONS=logicalCluster=lkc-1;identityPoolId=pool-1
# Use JSON for values that contain a separator:
#   S2LD_LAUNCHDARKLY_HEADERS={"X-Key":"a;b"}
`

// WriteEffective writes c as YAML, with the origin of each value in a comment. Secrets are
// redacted.
func (c *Config) WriteEffective(w io.Writer) error {
	var b strings.Builder
	for _, f := range fields(c) {
		if f.section {
			fmt.Fprintf(&b, "%s%s:\n", f.indent(), lastPart(f.path))
			continue
		}
		value := inline(f.v)
		if f.secret && f.v.Kind() == reflect.String && f.v.Len() > 0 {
			value = `"` + redacted + `"`
		}
		fmt.Fprintf(&b, "%s%s: %s  # %s\n", f.indent(), lastPart(f.path), value, c.Origin(f.path))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteExample writes a configuration file that contains every key with its help text and its
// default. A required key without a default has an example value instead.
func WriteExample(w io.Writer) error {
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, f := range fields(defaults()) {
		if f.section && !strings.Contains(f.path, ".") {
			b.WriteString("\n")
		}
		for _, line := range wrap(f.fullHelp(), 98-len(f.indent())) {
			fmt.Fprintf(&b, "%s# %s\n", f.indent(), line)
		}
		if f.section {
			fmt.Fprintf(&b, "%s%s:\n", f.indent(), lastPart(f.path))
			continue
		}
		if f.example != "" {
			if err := setText(f.v, f.example); err != nil {
				panic("config: example of " + f.path + ": " + err.Error())
			}
		}
		fmt.Fprintf(&b, "%s%s: %s\n", f.indent(), lastPart(f.path), inline(f.v))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fullHelp returns the help text, followed by the bounds or a note that the key is required.
func (f field) fullHelp() string {
	s := f.help
	switch {
	case f.required && f.def == "":
		s += " Required."
	case f.min != "" && f.max != "":
		s += " Must be between " + f.min + " and " + f.max + "."
	case f.min != "":
		s += " Must be at least " + f.min + "."
	case f.max != "":
		s += " Must be at most " + f.max + "."
	}
	return s
}

func (f field) indent() string { return strings.Repeat("  ", strings.Count(f.path, ".")) }

// inline formats a value as YAML on one line.
func inline(v reflect.Value) string {
	var n yaml.Node
	if err := n.Encode(fileValue(v)); err != nil {
		panic("config: " + err.Error()) // unreachable: every type in Config can be encoded
	}
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	out, err := yaml.Marshal(&n)
	if err != nil {
		panic("config: " + err.Error())
	}
	return strings.TrimSpace(string(out))
}

// fileValue converts a value to the type that it has in the file.
func fileValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration, Bytes:
		return text(v)
	case []string:
		if slices.Equal(x, auto) {
			return x[0]
		}
		return append([]string{}, x...) // never nil, even if x is
	default:
		return x
	}
}

// wrap breaks s at word boundaries into lines of at most width bytes.
func wrap(s string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

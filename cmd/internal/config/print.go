package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const exampleHead = `# Configuration of segment-to-launchdarkly. What is empty or left out has its default, which is shown here.
# Each key can also be set by a variable, which wins over this file: kafka.sasl.username by S2LD_KAFKA_SASL_USERNAME.
# Lists in variables are separated by commas, context kinds by semicolons: user=userId,anonymousId;account=groupId
`

// WriteEffective writes c as YAML, each key with where its value came from. Secrets are hidden.
func (c *Config) WriteEffective(w io.Writer) error {
	var b strings.Builder
	for _, f := range fields(c) {
		if f.section {
			fmt.Fprintf(&b, "%s%s:\n", f.indent(), lastPart(f.path))
			continue
		}
		value := inline(f.v)
		if f.secret && f.v.Len() > 0 {
			value = `"` + redacted + `"`
		}
		fmt.Fprintf(&b, "%s%s: %s  # %s\n", f.indent(), lastPart(f.path), value, c.Origin(f.path))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteExample writes a file with every key: its description, and its default or, where there is none and one is
// needed, an example.
func WriteExample(w io.Writer) error {
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, f := range fields(defaults()) {
		if f.section && !strings.Contains(f.path, ".") {
			b.WriteString("\n")
		}
		for _, line := range wrap(f.about(), 110-len(f.indent())) {
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

// about returns the description with what the other tags say.
func (f field) about() string {
	doc := f.doc
	if f.required && f.def == "" {
		doc = "Required. " + doc
	}
	switch {
	case f.min != "" && f.max != "":
		doc += " From " + f.min + " to " + f.max + "."
	case f.min != "":
		doc += " At least " + f.min + "."
	case f.max != "":
		doc += " At most " + f.max + "."
	}
	return doc
}

func (f field) indent() string { return strings.Repeat("  ", strings.Count(f.path, ".")) }

// inline returns a value as YAML on one line.
func inline(v reflect.Value) string {
	var n yaml.Node
	if err := n.Encode(fileValue(v)); err != nil {
		panic("config: " + err.Error()) // all types of Config can be encoded
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

// fileValue returns a value in the type that the file has for it.
func fileValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration, Bytes:
		return text(v)
	case []string:
		return append([]string{}, x...) // not nil
	default:
		return x
	}
}

// wrap breaks s between words into lines of at most width characters.
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

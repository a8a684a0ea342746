package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// loadFile sets the keys from the YAML file at path. It returns an error if the file cannot be read
// or is not valid YAML.
func (l *loader) loadFile(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // empty, or only comments
	} else if err != nil {
		return syntaxError(path, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: must be a single YAML document", path)
	}
	l.loadSection(path, "", doc.Content[0])
	return nil
}

// syntaxError adds the path to a YAML parser error. It replaces the error for an unknown
// anchor, because that error quotes the text after a *, which can be a secret.
func syntaxError(path string, err error) error {
	if strings.Contains(err.Error(), "unknown anchor") {
		err = errors.New("a value that starts with * must be quoted")
	}
	return fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
}

// loadSection sets the keys of one section from a YAML node. prefix is the section's path followed
// by a dot, or empty for the top level.
func (l *loader) loadSection(path, prefix string, n *yaml.Node) {
	at := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }
	switch {
	case n.Tag == "!!null":
		return
	case n.Kind != yaml.MappingNode:
		key := strings.TrimSuffix(prefix, ".")
		if key == "" {
			key = "configuration"
		}
		l.problems = append(l.problems, Problem{Key: key, Rule: "must be a mapping of keys to values", Origin: at(n)})
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		name := prefix + key.Value
		f, known := l.fields[name]
		switch {
		case !known:
			rule := "unknown key"
			if f, ok := nearest(l.keys, name, lastPart(name)); ok {
				rule += "; did you mean " + f.path + "?"
			}
			l.problems = append(l.problems, Problem{Key: name, Rule: rule, Origin: at(key)})
			continue
		case seen[name] > 0:
			rule := fmt.Sprintf("duplicate key, first set on line %d", seen[name])
			l.problems = append(l.problems, Problem{Key: name, Rule: rule, Origin: at(key)})
			continue
		}
		seen[name] = key.Line
		switch {
		case f.section:
			l.loadSection(path, name+".", value)
		case value.Tag == "!!null": // no value: keep the default
		default:
			l.c.origins[name] = at(key)
			if err := setNode(f.v, value); err != nil {
				given := "" // lists and mappings are not displayed
				if value.Kind == yaml.ScalarNode {
					given = displayed(value.Value)
				}
				l.add(f, err.Error(), given)
			}
		}
	}
}

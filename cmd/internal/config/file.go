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

// file sets what the YAML file at path holds. The error is of a file that cannot be read or is not YAML.
func (l *loader) file(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // empty, or nothing but comments
	} else if err != nil {
		return syntaxError(path, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: must hold one YAML document", path)
	}
	l.mapping(path, "", doc.Content[0])
	return nil
}

// syntaxError words an error of the YAML parser. One of them quotes what follows a *, which may be a secret.
func syntaxError(path string, err error) error {
	if strings.Contains(err.Error(), "unknown anchor") {
		err = errors.New("a value that begins with * must be quoted")
	}
	return fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
}

// mapping sets the keys of one section from a node of the file; prefix is the section's path and a dot.
func (l *loader) mapping(path, prefix string, n *yaml.Node) {
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
			l.problems = append(l.problems, Problem{Key: name, Rule: "unknown key; the nearest is " + nearest(l.keys, name, lastPart(name)).path, Origin: at(key)})
			continue
		case seen[name] > 0:
			rule := fmt.Sprintf("is there twice, first in line %d", seen[name])
			l.problems = append(l.problems, Problem{Key: name, Rule: rule, Origin: at(key)})
			continue
		}
		seen[name] = key.Line
		switch {
		case f.section:
			l.mapping(path, name+".", value)
		case value.Tag == "!!null": // nothing after the colon: the default
		default:
			l.c.origins[name] = at(key)
			if err := setNode(f.v, value); err != nil {
				given := "" // a list or a mapping is not shown
				if value.Kind == yaml.ScalarNode {
					given = shown(value.Value)
				}
				l.add(f, given, err.Error())
			}
		}
	}
}

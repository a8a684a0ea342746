package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Use says how much of a configuration a command needs, and so what [LoadFor] demands.
type Use int

const (
	Service Use = iota // everything, and every file that it names
	Offline            // everything, but no file that it names is opened: it may be meant for another machine
	DryRun             // the mapping of calls to events: neither brokers nor a destination, and no file is opened
)

// Load reads the configuration of the service: the defaults, then the YAML file at path ("" for none), then the
// variables in environ, each "name=value" as os.Environ gives them. What is wrong comes back as [Problems], all of it;
// a file that cannot be read as another error.
func Load(path string, environ []string) (*Config, error) { return LoadFor(Service, path, environ) }

// LoadFor is [Load] for another use.
func LoadFor(use Use, path string, environ []string) (*Config, error) {
	l := newLoader()
	if path != "" {
		if err := l.file(path); err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	l.environ(environ)
	l.validate(use)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.c, nil
}

func defaults() *Config {
	c := &Config{origins: map[string]string{}}
	for _, f := range fields(c) {
		if f.def == "" {
			continue
		}
		if err := setText(f.v, f.def); err != nil {
			panic("config: default of " + f.path + ": " + err.Error())
		}
	}
	return c
}

// Origin says where the value of a key came from: "file:line", the name of a variable, or "default".
func (c *Config) Origin(path string) string {
	if o := c.origins[path]; o != "" {
		return o
	}
	return "default"
}

// A loader fills one Config and collects what is wrong.
type loader struct {
	c        *Config
	keys     []field          // in the order of the structs
	fields   map[string]field // by path
	problems Problems
}

// newLoader returns a loader whose Config has the defaults.
func newLoader() *loader {
	c := defaults()
	l := &loader{c: c, keys: fields(c), fields: map[string]field{}}
	for _, f := range l.keys {
		l.fields[f.path] = f
	}
	return l
}

// report adds a problem with the value that f holds, unless f has one already.
func (l *loader) report(f field, rule string) { l.add(f, shown(text(f.v)), rule) }

// add is report for a value that f could not take, as it is to be shown.
func (l *loader) add(f field, value, rule string) {
	if slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Key == f.path }) {
		return
	}
	if f.secret && value != shown("") {
		value = redacted
	}
	l.problems = append(l.problems, Problem{Key: f.path, Value: value, Rule: rule, Origin: l.c.origins[f.path]})
}

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
	n = resolve(n)
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
		key, value := n.Content[i], n.Content[i+1]
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

func (l *loader) environ(environ []string) {
	keys := slices.DeleteFunc(slices.Clone(l.keys), func(f field) bool { return f.section })
	byEnv := map[string]field{}
	for _, f := range keys {
		byEnv[f.env()] = f
	}
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		f, known := byEnv[name]
		if !known {
			meant := strings.ToLower(strings.TrimPrefix(name, envPrefix))
			l.problems = append(l.problems, Problem{Key: name, Rule: "unknown variable; the nearest is " + nearest(keys, meant, meant).env()})
			continue
		}
		l.c.origins[f.path] = name
		// What the file said is overruled, and so is what was wrong with it.
		l.problems = slices.DeleteFunc(l.problems, func(p Problem) bool { return p.Key == f.path })
		if err := setText(f.v, value); err != nil {
			l.add(f, shown(value), err.Error())
		}
	}
}

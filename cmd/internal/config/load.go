package config

import (
	"fmt"
	"slices"
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

package config

import (
	"fmt"
	"slices"
)

// Use selects how much of a configuration [LoadFor] validates.
type Use int

const (
	Service Use = iota // everything, including the files that the configuration names
	Offline            // everything except those files, because they can be on another machine
	DryRun             // only the mapping of calls to events: no brokers, no destination, no files
)

// Load reads the configuration of the service: the defaults, then the YAML file at path ("" for
// none), then the variables in environ, in the format of [os.Environ]. If the configuration is
// invalid, the error is a [Problems] with every problem. If the file cannot be read or parsed, it
// is a different error.
func Load(path string, environ []string) (*Config, error) { return LoadFor(Service, path, environ) }

// LoadFor is [Load] for the given use.
func LoadFor(use Use, path string, environ []string) (*Config, error) {
	l := newLoader()
	if path != "" {
		if err := l.loadFile(path); err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	l.loadEnviron(environ)
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

// Origin returns the source of a key's value: "file:line", the name of a variable, or "default".
func (c *Config) Origin(path string) string {
	if o := c.origins[path]; o != "" {
		return o
	}
	return "default"
}

// A loader fills one Config and collects its problems.
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

// add adds a problem with f, unless f already has one. value is the value to display, or "".
func (l *loader) add(f field, rule, value string) {
	if slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Key == f.path }) {
		return
	}
	if f.secret && value != "" && value != displayed("") {
		value = redacted
	}
	l.problems = append(l.problems, Problem{Key: f.path, Rule: rule, Value: value, Origin: l.c.origins[f.path]})
}

package config

import (
	"fmt"
	"slices"
)

// Use selects how much of a configuration [LoadFor] validates.
type Use int

const (
	Service Use = iota // everything, including the files named in the configuration
	Offline            // everything except the named files, which can be on another machine and are not read
	DryRun             // the mapping, and each key that is set
	REST               // each key that is set, for commands that use only LaunchDarkly's REST API
)

// Load reads and validates the configuration of the service. It applies the defaults, then the YAML
// file at path ("" for none), then the variables in environ, formatted like [os.Environ]. If the
// configuration is invalid, the error has type [Problems]. If the file cannot be read or parsed,
// the error has a different type.
func Load(path string, environ []string) (*Config, error) { return LoadFor(Service, path, environ) }

// LoadFor is like [Load], but validates only what the given [Use] selects.
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
	c := &Config{origins: map[string]string{}, msk: &mskIdentity{}}
	c.tokens = newTokens(&c.Kafka.SASL.OAuth)
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

// Origin returns the source of a key's value: "file:line", a variable name, or "default".
func (c *Config) Origin(path string) string {
	if o := c.origins[path]; o != "" {
		return o
	}
	return "default"
}

// loader fills a Config and collects the problems in it.
type loader struct {
	c        *Config
	keys     []field          // in struct order
	fields   map[string]field // by path
	problems Problems
}

// newLoader returns a loader whose Config contains the defaults.
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

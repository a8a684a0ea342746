package config

import (
	"slices"
	"strings"
)

const envPrefix = "S2LD_"

// env returns the name of the key's environment variable.
func (f field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// loadEnviron sets the keys from environ. An environment variable overrides the file's value for
// the same key and clears any problem reported for that value.
func (l *loader) loadEnviron(environ []string) {
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
			path := strings.ToLower(strings.TrimPrefix(name, envPrefix))
			rule := "unknown variable"
			if f, ok := nearest(keys, path, path); ok {
				rule += "; did you mean " + f.env() + "?"
			}
			l.problems = append(l.problems, Problem{Key: name, Rule: rule})
			continue
		}
		l.c.origins[f.path] = name
		l.problems = slices.DeleteFunc(l.problems, func(p Problem) bool { return p.Key == f.path })
		if err := setText(f.v, value); err != nil {
			l.add(f, err.Error(), displayed(value))
		}
	}
}

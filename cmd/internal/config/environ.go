package config

import (
	"slices"
	"strings"
)

const envPrefix = "S2LD_"

// env returns the name of the variable that sets the key.
func (f field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// environ sets what the variables hold. What the file said about the same key is overruled, and so is what was wrong with it.
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
		l.problems = slices.DeleteFunc(l.problems, func(p Problem) bool { return p.Key == f.path })
		if err := setText(f.v, value); err != nil {
			l.add(f, shown(value), err.Error())
		}
	}
}

package metriccheck

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// property counts the events by where they have a property that a metric filters on. LaunchDarkly's
// filters see only the top-level strings, numbers, and booleans of an event's data.
type property struct {
	usable   int
	removed  int    // in the call, but not in the event's data
	compound int    // an object or an array
	nested   int    // inside another property
	path     string // path of the last nested one
}

// add counts an event. properties is the value of properties in its call.
func (p *property) add(name string, data object, properties json.RawMessage) {
	original := members(properties)[name]
	switch {
	case isScalar(data[name]):
		p.usable++
	case isScalar(original):
		p.removed++
	case len(original) > 0 && original[0] != 'n':
		p.compound++
	default:
		// The names in a path are separated by slashes in LaunchDarkly, and by dots in Segment.
		dotted := strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")
		if path := find(properties, "properties", name, "properties."+dotted, 1); path != "" {
			p.nested++
			p.path = path
		}
	}
}

// isScalar reports whether a value is a string, a number, or a boolean.
func isScalar(value json.RawMessage) bool {
	return len(value) > 0 && !strings.ContainsRune("{[n", rune(value[0]))
}

// find returns the path of a nested property that has the given name or path, or "" if there is
// none. It searches the first element of each array. value is at the path at, and depth is the
// number of names in the paths of its members.
func find(value json.RawMessage, at, name, path string, depth int) string {
	if depth > maxDepth {
		return ""
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil && len(list) > 0 {
		return find(list[0], at+"[]", name, path, depth+1)
	}
	fields := members(value)
	for _, member := range slices.Sorted(maps.Keys(fields)) {
		found := at + "." + member
		if depth == 1 || member != name && found != path {
			found = find(fields[member], found, name, path, depth+1)
		}
		if found != "" {
			return found
		}
	}
	return ""
}

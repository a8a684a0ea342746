package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	errList     = errors.New("must be a list")
	errContexts = errors.New("must be a mapping of context kinds to lists of fields")
	errTwice    = errors.New("must not contain a context kind twice")
	errPairs    = errors.New("must be a mapping of names to values")
	errPairForm = errors.New("must have the form name=value;name=value")
	errNames    = errors.New("must not contain a name twice")
	errNull     = errors.New("must not contain null")

	errConditions = errors.New("must be a list of conditions, such as [{field: projectId, in: [a, b]}]")
)

// setText sets v from s in the syntax of environment variables. In this syntax, lists are separated
// by commas, and entries of mappings by semicolons, as in "user=userId,anonymousId;account=groupId".
// JSON is also accepted.
func setText(v reflect.Value, s string) error {
	if p, ok := reflect.TypeAssert[*string](v.Addr()); ok {
		*p = s
		return nil
	}
	s = strings.TrimSpace(s)
	var err error
	switch p := v.Addr().Interface().(type) {
	case *bool:
		if s != "true" && s != "false" {
			return errors.New("must be true or false")
		}
		*p = s == "true"
	case *int:
		if *p, err = strconv.Atoi(s); err != nil {
			return errors.New("must be a whole number")
		}
	case *Bytes:
		*p, err = parseBytes(s)
	case *time.Duration:
		if *p, err = time.ParseDuration(s); err != nil {
			return errors.New("must be a duration such as 500ms, 10s, or 1m30s")
		}
	case *[]string:
		if strings.HasPrefix(s, "[") {
			return setFlow(v, s, errList)
		}
		*p = splitList(s)
	case *map[string][]string:
		if strings.HasPrefix(s, "{") {
			return setFlow(v, s, errContexts)
		}
		*p = map[string][]string{}
		for part := range strings.SplitSeq(s, ";") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			kind, list, ok := strings.Cut(part, "=")
			if !ok {
				return errors.New("must have the form kind=field,field;kind=field")
			}
			kind = strings.TrimSpace(kind)
			if _, twice := (*p)[kind]; twice {
				return errTwice
			}
			(*p)[kind] = splitList(list)
		}
	case *map[string]string:
		if strings.HasPrefix(s, "{") {
			return setFlow(v, s, errPairs)
		}
		*p = nil
		for part := range strings.SplitSeq(s, ";") {
			if strings.TrimSpace(part) == "" {
				continue
			}
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				return errPairForm
			}
			if err := addPair(p, strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	case *[]Condition:
		*p = nil
		switch {
		case strings.HasPrefix(s, "["):
			return setFlow(v, s, errConditions)
		case s != "":
			return errConditions
		}
	case *map[string]Secret:
		var values map[string]string
		err := setText(reflect.ValueOf(&values).Elem(), s)
		*p = secrets(values)
		return err
	default:
		panic(fmt.Sprintf("config: no parser for %T", p))
	}
	return err
}

// addPair adds a name to a map, which can be nil.
func addPair(to *map[string]string, name, value string) error {
	if _, twice := (*to)[name]; twice {
		return errNames
	}
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[name] = value
	return nil
}

func secrets(values map[string]string) (all map[string]Secret) {
	for name, value := range values {
		if all == nil {
			all = map[string]Secret{}
		}
		all[name] = Secret{Value: value}
	}
	return all
}

func splitList(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	list := strings.Split(s, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// setFlow sets v from a list or mapping in YAML's flow style, which is a superset of JSON.
func setFlow(v reflect.Value, s string, wrong error) error {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(s), &doc) != nil {
		return wrong
	}
	return setNode(v, doc.Content[0])
}

// setNode sets v from a YAML node. Scalars are parsed from their source text, so that YAML's own
// types do not change a string such as 007 or 1e3.
func setNode(v reflect.Value, n *yaml.Node) error {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode {
		return setText(v, n.Value)
	}
	switch p := v.Addr().Interface().(type) {
	case *[]string:
		var err error
		if *p, err = stringList(n, errList); err != nil {
			return err
		}
	case *map[string][]string:
		if n.Kind != yaml.MappingNode {
			return errContexts
		}
		*p = map[string][]string{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			list, err := stringList(resolve(n.Content[i+1]), errContexts)
			if err != nil {
				return err
			}
			kind := n.Content[i].Value
			if _, twice := (*p)[kind]; twice {
				return errTwice
			}
			(*p)[kind] = list
		}
	case *map[string]string:
		if n.Kind != yaml.MappingNode {
			return errPairs
		}
		*p = nil
		for i := 0; i+1 < len(n.Content); i += 2 {
			value := resolve(n.Content[i+1])
			switch {
			case value.Kind != yaml.ScalarNode:
				return errPairs
			case value.Tag == "!!null":
				return errNull
			}
			if err := addPair(p, n.Content[i].Value, value.Value); err != nil {
				return err
			}
		}
	case *[]Condition:
		var err error
		if *p, err = conditions(n); err != nil {
			return err
		}
	case *map[string]Secret:
		var values map[string]string
		err := setNode(reflect.ValueOf(&values).Elem(), n)
		*p = secrets(values)
		return err
	default:
		return errors.New("must be a single value")
	}
	return nil
}

// conditions returns the conditions in a list of mappings.
func conditions(n *yaml.Node) ([]Condition, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, errConditions
	}
	var all []Condition
	for i, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.MappingNode {
			return nil, errConditions
		}
		var c Condition
		texts := map[string]*string{"field": &c.Field, "header": &c.Header, "topic": &c.Topic}
		lists := map[string]*[]string{"in": &c.In, "not_in": &c.NotIn}
		seen := map[string]bool{}
		for j := 0; j+1 < len(item.Content); j += 2 {
			name, value := item.Content[j].Value, resolve(item.Content[j+1])
			wrong := fmt.Errorf("condition %d: %s must be a list", i+1, name)
			if seen[name] {
				return nil, fmt.Errorf("condition %d: %s must not be set twice", i+1, name)
			}
			seen[name] = true
			switch {
			case texts[name] != nil && value.Kind == yaml.ScalarNode && value.Tag != "!!null":
				*texts[name] = value.Value
			case texts[name] != nil:
				return nil, fmt.Errorf("condition %d: %s must be a single value", i+1, name)
			case lists[name] == nil:
				return nil, fmt.Errorf("condition %d: unknown key %q; must be field, header, topic, in, or not_in", i+1, name)
			case value.Kind != yaml.SequenceNode:
				return nil, wrong
			default:
				list, err := stringList(value, wrong)
				if err != nil {
					return nil, err
				}
				*lists[name] = list
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// stringList returns the elements of a list, or of a string in the format of a variable's value.
// It returns wrong if n is neither.
func stringList(n *yaml.Node, wrong error) ([]string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return nil, errNull
		}
		return splitList(n.Value), nil
	case yaml.SequenceNode:
	default:
		return nil, wrong
	}
	var list []string
	for _, e := range n.Content {
		switch e = resolve(e); {
		case e.Kind != yaml.ScalarNode:
			return nil, wrong
		case e.Tag == "!!null":
			return nil, errNull
		}
		list = append(list, e.Value)
	}
	return list, nil
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// text formats v in the syntax of environment variables. It is the inverse of setText.
func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return durationText(x)
	case []string:
		return strings.Join(x, ",")
	case []Condition:
		if len(x) == 0 {
			return ""
		}
		b, _ := json.Marshal(x) // strings can always be encoded
		return string(b)
	case map[string][]string:
		var parts []string
		for _, kind := range slices.Sorted(maps.Keys(x)) {
			parts = append(parts, kind+"="+strings.Join(x[kind], ","))
		}
		return strings.Join(parts, ";")
	case map[string]string:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(x)) {
			parts = append(parts, name+"="+x[name])
		}
		return strings.Join(parts, ";")
	case map[string]Secret:
		values := map[string]string{}
		for name, s := range x {
			values[name] = s.Value
		}
		return text(reflect.ValueOf(values))
	default:
		return fmt.Sprint(x)
	}
}

// durationText formats d without trailing zero units: 1m instead of 1m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

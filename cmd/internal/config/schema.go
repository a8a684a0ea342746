package config

import (
	"encoding/json"
	"io"
	"strings"
	"time"
)

// object is a JSON object. The encoder sorts the names, so the output is reproducible.
type object = map[string]any

// WriteSchema writes a JSON schema of the configuration file, for use in editors. It uses draft 7,
// which YAML plugins support best.
func WriteSchema(w io.Writer) error {
	root := section("Configuration of segment-to-launchdarkly.")
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	sections := map[string]object{"": root}
	for _, f := range fields(defaults()) {
		parent, name := "", f.path
		if i := strings.LastIndexByte(f.path, '.'); i >= 0 {
			parent, name = f.path[:i], f.path[i+1:]
		}
		s := f.schema()
		sections[parent]["properties"].(object)[name] = s
		sections[f.path] = s
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(root)
}

func section(help string) object {
	return object{"type": "object", "description": help, "additionalProperties": false, "properties": object{}}
}

func (f field) schema() object {
	if f.section {
		return section(f.help)
	}
	s := object{"description": f.fullHelp(), "type": "string"}
	if f.def != "" {
		s["default"] = fileValue(f.v)
	}
	constrain := s // the schema that receives the rule's pattern
	switch f.v.Interface().(type) {
	case bool:
		s["type"] = "boolean"
	case int:
		s["type"] = "integer"
		for name, bound := range map[string]string{"minimum": f.min, "maximum": f.max} {
			if bound != "" {
				s[name] = json.Number(bound)
			}
		}
	case Bytes:
		s["type"], s["pattern"] = []string{"string", "integer"}, `^[0-9]+ *([kKmMgG]?[bB]|[kKmMgG][iI][bB])?$`
	case time.Duration:
		s["pattern"] = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$|^0$`
	case []string:
		constrain = object{"type": "string"}
		s["type"], s["items"] = "array", constrain
		if f.required {
			s["minItems"] = 1
		}
		if f.def == auto[0] {
			delete(s, "type")
			s["anyOf"] = []object{{"type": "array"}, {"const": auto[0]}}
		}
	case []Condition:
		one, list := object{"type": "string"}, object{"type": "array", "items": object{"type": "string"}, "minItems": 1}
		s["type"], s["items"] = "array", object{
			"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 2,
			"properties": object{"field": one, "header": one, "topic": one, "in": list, "not_in": list},
		}
	case map[string][]string:
		constrain = object{}
		s["type"], s["propertyNames"] = "object", constrain
		s["additionalProperties"] = object{"type": "array", "items": object{"type": "string"}, "minItems": 1}
	case map[string]string, map[string]Secret:
		constrain = object{}
		s["type"], s["propertyNames"] = "object", constrain
		s["additionalProperties"] = object{"type": "string"}
	}
	if f.enum != nil {
		var values []any
		if !f.required && f.def == "" {
			values = append(values, "")
		}
		for _, e := range f.enum {
			if s["type"] == "integer" {
				values = append(values, json.Number(e))
			} else {
				values = append(values, e)
			}
		}
		s["enum"] = values
	}
	if p := rules[f.rule].pattern; p != nil {
		constrain["pattern"] = p.String()
		if constrain["type"] == "string" && s["type"] == "string" && !f.required {
			constrain["pattern"] = "^$|" + p.String()
		}
	}
	return s
}

package config

import (
	"reflect"
	"strings"
)

// field is a configuration key, or a section of keys, with its help text and tags.
type field struct {
	path    string // such as kafka.sasl.username
	help    string
	section bool

	def, example   string
	enum           []string
	rule, min, max string
	required       bool
	secret         bool // whether the value is a credential, which is never shown
	v              reflect.Value
}

// fields returns the sections and keys of c in struct order. A section precedes its keys.
func fields(c *Config) []field { return appendFields(nil, "", reflect.ValueOf(c).Elem()) }

func appendFields(all []field, prefix string, v reflect.Value) []field {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("yaml")
		if name == "" {
			continue // not a key
		}
		rule, option, _ := strings.Cut(tag.Get("rule"), ",")
		f := field{
			path: prefix + name, help: help[prefix+name], def: tag.Get("default"), example: tag.Get("example"),
			rule: rule, min: tag.Get("min"), max: tag.Get("max"), required: option == "required", v: v.Field(i),
		}
		if enum := tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, "|")
		}
		secret, isSecret := reflect.TypeAssert[*Secret](f.v.Addr())
		switch {
		case isSecret:
			f.secret, f.v = true, reflect.ValueOf(&secret.Value).Elem()
			file := field{
				path: f.path + "_file", help: fileHelp(name), rule: "file", v: reflect.ValueOf(&secret.File).Elem(),
			}
			all = append(all, f, file)
		case f.v.Type() == reflect.TypeFor[map[string]Secret]():
			f.secret = true
			all = append(all, f)
		case f.v.Kind() == reflect.Struct:
			f.section = true
			all = appendFields(append(all, f), f.path+".", f.v)
		default:
			all = append(all, f)
		}
	}
	return all
}

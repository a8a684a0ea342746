package ldtest

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parse splits a body into its events. The error says why the whole of it is
// refused: it is not a JSON array of objects of kind custom.
func parse(body []byte) (events [][]byte, err error) {
	if !utf8.Valid(body) || !json.Valid(body) || skipSpace(body)[0] != '[' {
		return nil, errors.New("the body is not a JSON array")
	}
	for event := range Events(body) {
		if kind, _ := text(member(event, "kind")); kind != "custom" {
			return nil, errors.New("an event is not an object of kind custom")
		}
		events = append(events, event)
	}
	return events, nil
}

// dropped returns why LaunchDarkly takes the event and then never processes it;
// "" if it counts. The fields are those of the schema, "3" or "4"; data and
// metricValue may be absent.
func dropped(event []byte, schema string) string {
	if schema != "3" && schema != "4" {
		return "unknown event schema"
	}
	fields := make(map[string][]byte, 8)
	for name, value := range members(event) {
		if fields[name] != nil {
			return "a field stands twice"
		}
		fields[name] = value
		switch {
		case name == "kind", name == "data":
		case name == "key":
			if !isKey(value) {
				return "key is not a non-empty string"
			}
		case name == "creationDate":
			if ms, err := strconv.ParseInt(string(value), 10, 64); err != nil || ms <= 0 {
				return "creationDate is not a positive integer"
			}
		case name == "metricValue":
			if _, err := strconv.ParseFloat(string(value), 64); err != nil {
				return "metricValue is not a number"
			}
		case name == "userKey" && schema == "3":
			if !isKey(value) {
				return "userKey is not a non-empty string"
			}
		case name == "contextKeys" && schema == "4":
			if reason := checkContextKeys(value); reason != "" {
				return reason
			}
		default:
			return "a field is not of schema " + schema
		}
	}
	switch {
	case fields["key"] == nil:
		return "no key"
	case fields["creationDate"] == nil:
		return "no creationDate"
	case schema == "3" && fields["userKey"] == nil:
		return "no userKey"
	case schema == "4" && fields["contextKeys"] == nil:
		return "no contextKeys"
	}
	return ""
}

// checkContextKeys returns why an object of context kinds and keys is unusable.
func checkContextKeys(value []byte) string {
	if value[0] != '{' {
		return "contextKeys is not an object"
	}
	seen := make(map[string]bool)
	for kind, key := range members(value) {
		switch {
		case !isContextKind(kind):
			return "a context kind is illegal"
		case seen[kind]:
			return "a context kind stands twice"
		case !isKey(key):
			return "a context key is not a non-empty string"
		}
		seen[kind] = true
	}
	if len(seen) == 0 {
		return "contextKeys is empty"
	}
	return ""
}

func isKey(value []byte) bool { return value[0] == '"' && len(value) > len(`""`) }

// isContextKind: letters, digits, dot, underscore and hyphen; not "kind", not
// "multi".
func isContextKind(kind string) bool {
	const legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return kind != "" && kind != "kind" && kind != "multi" && strings.Trim(kind, legal) == ""
}

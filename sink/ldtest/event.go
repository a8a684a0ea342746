package ldtest

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parse splits a body into its events. It returns an error if the body is not a JSON array of
// objects of kind custom. In that case, the whole body is rejected.
func parse(body []byte) (events [][]byte, err error) {
	if !utf8.Valid(body) || !json.Valid(body) || skipSpace(body)[0] != '[' {
		return nil, errors.New("body is not a JSON array")
	}
	for event := range Events(body) {
		if kind, _ := text(member(event, "kind")); kind != "custom" {
			return nil, errors.New("event is not an object of kind custom")
		}
		events = append(events, event)
	}
	return events, nil
}

// dropReason returns why LaunchDarkly accepts the event but never processes it, or "" if the event
// counts. An event counts only if it has exactly the fields of its schema, "3" or "4", with valid
// values. Only data and metricValue are optional.
func dropReason(event []byte, schema string) string {
	if schema != "3" && schema != "4" {
		return "unknown event schema"
	}
	fields := make(map[string][]byte, 8)
	for name, value := range members(event) {
		if fields[name] != nil {
			return "duplicate field"
		}
		fields[name] = value
		switch {
		case name == "kind", name == "data":
		case name == "key":
			if !isKey(value) {
				return "key must be a non-empty string"
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
				return "userKey must be a non-empty string"
			}
		case name == "contextKeys" && schema == "4":
			if reason := checkContextKeys(value); reason != "" {
				return reason
			}
		default:
			return "unknown field in schema " + schema
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

// checkContextKeys returns why contextKeys is invalid, or "" if it is valid.
func checkContextKeys(value []byte) string {
	if value[0] != '{' {
		return "contextKeys is not an object"
	}
	seen := make(map[string]bool)
	for kind, key := range members(value) {
		switch {
		case !isContextKind(kind):
			return "invalid context kind"
		case seen[kind]:
			return "duplicate context kind"
		case !isKey(key):
			return "a context key must be a non-empty string"
		}
		seen[kind] = true
	}
	if len(seen) == 0 {
		return "contextKeys is empty"
	}
	return ""
}

func isKey(value []byte) bool { return value[0] == '"' && len(value) > len(`""`) }

// isContextKind reports whether a context kind is valid. A valid kind contains only letters,
// digits, dots, underscores, and hyphens, and is neither "kind" nor "multi".
func isContextKind(kind string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return kind != "" && kind != "kind" && kind != "multi" && strings.Trim(kind, allowed) == ""
}

package preview

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Format describes a record that is not a Segment call.
type Format struct {
	Name   string // such as EventBridge; "" if unknown
	Unwrap string // the path of a Segment call in the record, for segment.unwrap; "" if there is none
}

// knownFormats lists the top-level fields that identify each format. A record has the first format
// all of whose fields it contains.
var knownFormats = []struct {
	name   string
	fields []string
}{
	{"EventBridge", []string{"detail", "detail-type"}},
	{"CloudEvents", []string{"specversion"}},
	{"Jitsu", []string{"httpPayload"}},
	{"API Gateway", []string{"body", "isBase64Encoded"}},
	{"API Gateway", []string{"body", "requestContext"}},
	{"Kafka Connect", []string{"schema", "payload"}},
	{"Debezium", []string{"op", "after"}},
	{"a log shipper's output", []string{"@timestamp"}},
	{"a log shipper's output", []string{"kubernetes"}},
	{"a log line", []string{"level", "msg"}},
	{"a log line", []string{"level", "message"}},
}

// recognize returns the format of a record that contains an object other than a Segment call, and
// the record's top-level names, sorted. source is this object. If the record is not a single
// object, recognize examines source instead, and the format has no path for segment.unwrap.
func recognize(record, source []byte) (Format, []string) {
	fields, whole := parse(transform.TrimPrefix(record))
	if !whole {
		fields, _ = parse(source)
	}
	names := slices.Sorted(maps.Keys(fields))
	var f Format
	for _, known := range knownFormats {
		if !slices.ContainsFunc(known.fields, func(name string) bool { _, ok := fields[name]; return !ok }) {
			f.Name = known.name
			break
		}
	}
	for depth := 1; depth <= 3 && f.Unwrap == "" && whole; depth++ {
		f.Unwrap = findCall(fields, depth)
	}
	if f == (Format{}) {
		for _, name := range names {
			kind, _ := fields[name].(string)
			if strings.EqualFold(name, "type") && isCallType(kind) && name != "type" {
				f.Name = "a Segment call whose field names have the wrong letter case (" + name + " instead of type)"
			}
		}
	}
	return f, names
}

// parse returns the fields of an object. ok is false if text is not a single object.
func parse(text []byte) (fields map[string]any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // accepts numbers of any size
	err := d.Decode(&fields)
	return fields, err == nil && fields != nil && !d.More()
}

// findCall returns the path of the first field that contains a Segment call and is depth levels
// below an object, or "" if there is none. Fields are searched in sorted order.
func findCall(fields map[string]any, depth int) string {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if strings.Contains(name, ".") {
			continue // cannot be part of a path
		}
		value := fields[name]
		if depth == 1 {
			if text, ok := value.(string); ok {
				value = nil
				_ = json.Unmarshal([]byte(text), &value) // most strings are not JSON
			}
			if containsCall(value) {
				return name
			}
			continue
		}
		if nested, ok := value.(map[string]any); ok {
			if path := findCall(nested, depth-1); path != "" {
				return name + "." + path
			}
		}
	}
	return ""
}

// containsCall reports whether a value is a Segment call, or is an array or a batch that begins
// with one.
func containsCall(value any) bool {
	switch v := value.(type) {
	case []any:
		return len(v) > 0 && containsCall(v[0])
	case map[string]any:
		if kind, ok := v["type"]; ok {
			name, _ := kind.(string)
			return isCallType(name)
		}
		batch, ok := v["batch"].([]any)
		return ok && containsCall(batch)
	}
	return false
}

func isCallType(name string) bool {
	switch strings.ToLower(name) {
	case "track", "identify", "page", "screen", "group", "alias", "delete":
		return true
	}
	return false
}

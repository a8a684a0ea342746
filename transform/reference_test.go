package transform

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/segment-to-launchdarkly/forwarder/transform/coerce/coercetest"
)

// reference maps one record by the same rules as Transformer. It is a simple implementation on top
// of encoding/json, which validates, unescapes names, and keeps the last value of a repeated name.
// The tests require that both agree.
type reference struct {
	cfg    Config
	record Record
	dst    []byte
	made   []Call
}

func (r *reference) append(record Record) ([]byte, []Call) {
	r.record = record
	value, timestamp := record.Value, record.Timestamp
	if value == nil {
		r.skip(Tombstone)
		return r.dst, r.made
	}
	switch {
	case len(value) >= 5 && value[0] == 0:
		value = value[5:]
	case len(value) >= 18 && value[0] == 3 && value[1] == 0:
		value = value[18:]
	}
	r.documents(value, timestamp, true)
	return r.dst, r.made
}

// documents maps the calls in the documents of b, or adds one malformed call if one of the
// documents is invalid.
func (r *reference) documents(b []byte, timestamp int64, unwrap bool) {
	documents, ok := split(b)
	if !ok {
		r.skip(Malformed)
		return
	}
	for _, document := range documents {
		isText := kind(document) == '"' && unwrap && r.auto() && text(document) != ""
		if len(documents) > 1 && kind(document) != '{' && kind(document) != '[' && !isText {
			r.skip(Malformed)
			return
		}
	}
	for _, document := range documents {
		if unwrap {
			if content, ok := r.content(document); ok {
				if content == nil {
					r.skip(Tombstone)
				} else {
					r.documents(content, timestamp, false)
				}
				continue
			}
		}
		switch kind(document) {
		case '[':
			r.calls(document, nil, timestamp)
		case '{':
			call := object(document)
			if call["type"] == nil && kind(call["batch"]) == '[' {
				r.calls(call["batch"], call, timestamp)
			} else {
				r.call(call, timestamp)
			}
		default:
			r.skip(Malformed)
		}
	}
}

// content returns the content of an envelope. ok is false if the document is not an envelope.
// Invalid base64 yields empty content, which is malformed too.
func (r *reference) content(document json.RawMessage) (content []byte, ok bool) {
	auto := r.auto()
	if auto && kind(document) == '"' && text(document) != "" {
		return []byte(text(document)), true
	}
	if kind(document) != '{' {
		return nil, false
	}
	fields := object(document)
	decode := func(content json.RawMessage, encoded bool) ([]byte, bool) {
		switch {
		case kind(content) == 'n':
			return nil, true
		case encoded && kind(content) != '"':
			return []byte{}, true
		case encoded:
			decoded, err := base64.StdEncoding.DecodeString(text(content))
			if err != nil {
				return []byte{}, true
			}
			return decoded, true
		case kind(content) == '"':
			return []byte(text(content)), true
		}
		return content, true
	}
	is := func(name, kinds string) bool {
		return fields[name] != nil && strings.IndexByte(kinds, kind(fields[name])) >= 0
	}
	if !auto {
		for _, path := range r.cfg.Unwrap {
			path = strings.TrimPrefix(path, "$.")
			if content := follow(fields, path); content != nil {
				name := path[strings.LastIndexByte(path, '.')+1:]
				flag := follow(fields, strings.TrimSuffix(path, name)+"isBase64Encoded")
				return decode(content, name == "data_base64" || string(flag) == "true")
			}
		}
		return nil, false
	}
	switch {
	case is("httpPayload", "{") && fields["ingestType"] != nil:
		return decode(fields["httpPayload"], false)
	case isCall(fields):
		return nil, false
	case is("detail", "{") && is("detail-type", `"`):
		return decode(fields["detail"], false)
	case fields["data"] != nil && is("specversion", `"`):
		return decode(fields["data"], false)
	case fields["data_base64"] != nil && is("specversion", `"`):
		return decode(fields["data_base64"], true)
	case len(fields) == 2 && fields["schema"] != nil && fields["payload"] != nil:
		return decode(fields["payload"], false)
	case is("body", `"`) && is("isBase64Encoded", "tf"):
		return decode(fields["body"], string(fields["isBase64Encoded"]) == "true")
	}
	return nil, false
}

func (r *reference) auto() bool { return slices.Equal(r.cfg.Unwrap, []string{"auto"}) }

// isCall reports whether the type is one of Segment's.
func isCall(call map[string]json.RawMessage) bool {
	return kind(call["type"]) == '"' && slices.ContainsFunc(
		[]string{"track", "identify", "page", "screen", "group", "alias", "delete"},
		func(name string) bool { return asciiEqualFold(text(call["type"]), name) })
}

// split returns the documents in b. ok is false unless all of b is valid.
func split(b []byte) (documents []json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	end := -1
	for {
		var document json.RawMessage
		if err := d.Decode(&document); err != nil {
			return documents, err == io.EOF && len(documents) > 0 && utf8.Valid(b)
		}
		if int(d.InputOffset())-len(document) == end { // no white space between two documents
			return nil, false
		}
		documents = append(documents, document)
		end = int(d.InputOffset())
	}
}

func (r *reference) calls(array []byte, batch map[string]json.RawMessage, timestamp int64) {
	var items []json.RawMessage
	must(json.Unmarshal(array, &items))
	if len(items) == 0 {
		r.skip(NoCalls)
	}
	for _, item := range items {
		if kind(item) != '{' {
			r.skip(Malformed)
			continue
		}
		call := object(item)
		for _, name := range []string{"context", "integrations"} {
			if call[name] == nil && batch[name] != nil {
				call[name] = batch[name]
			}
		}
		r.call(call, timestamp)
	}
}

func (r *reference) skip(reason Reason) {
	r.made = append(r.made, Call{Reason: reason, End: len(r.dst)})
}

func (r *reference) call(call map[string]json.RawMessage, timestamp int64) {
	if !isCall(call) {
		r.skip(NotACall)
		return
	}
	if !asciiEqualFold(text(call["type"]), "track") {
		r.skip(NotTrack)
		return
	}
	if !r.consents(call) {
		r.skip(NoConsent)
		return
	}
	if r.cfg.HonorIntegrations && !r.enabled(call["integrations"]) {
		r.skip(Integrations)
		return
	}
	at, recordTime := timestamp, true
	for _, field := range []string{"sentAt", "originalTimestamp", "receivedAt", "timestamp"} {
		if ms := coercetest.Time(call[field]); ms > 0 {
			at, recordTime = ms, false
		}
	}
	if reason := r.filter(call, at); reason != None {
		r.skip(reason)
		return
	}
	name := key(call["event"])
	if name == "" {
		r.skip(NoEventName)
		return
	}
	keys := r.keys(call)
	if keys == "" {
		r.skip(NoUserKey)
		return
	}
	if at <= 0 {
		r.skip(NoTimestamp)
		return
	}
	properties := call["properties"]
	switch kind(properties) {
	case 0, 'n':
		properties = json.RawMessage("{}")
	case '{':
	default:
		r.skip(PropertiesNotObject)
		return
	}
	event := `{"kind":"custom","key":` + name + `,` + keys + `,"creationDate":` + strconv.FormatInt(at, 10)
	hasValue, noValue := false, false
	for _, path := range r.cfg.MetricValue {
		field := follow(call, strings.TrimPrefix(path, "$."))
		if value := coercetest.Number(field); value != "" {
			event += `,"metricValue":` + value
			hasValue, noValue = true, false
			break
		}
		noValue = noValue || kind(field) != 0 && kind(field) != 'n'
	}
	event += `,"data":` + r.data(properties) + `}`
	if r.cfg.MaxEventBytes > 0 && len(event) > r.cfg.MaxEventBytes {
		r.skip(TooLarge)
		return
	}
	r.dst = append(r.dst, event+","...)
	r.made = append(r.made, Call{
		End: len(r.dst), HasMetricValue: hasValue, NoMetricValue: noValue, RecordTime: recordTime,
	})
}

// keys renders userKey or contextKeys. It returns "" if there is no key.
func (r *reference) keys(call map[string]json.RawMessage) string {
	if r.cfg.Schema == 3 {
		for _, field := range []string{"userId", "anonymousId"} {
			if k := key(call[field]); k != "" {
				return `"userKey":` + k
			}
		}
		return ""
	}
	var keys []string
	for _, kind := range slices.Sorted(maps.Keys(r.cfg.Contexts)) {
		for _, path := range r.cfg.Contexts[kind] {
			if k := key(follow(call, strings.TrimPrefix(path, "$."))); k != "" {
				keys = append(keys, `"`+kind+`":`+k)
				break
			}
		}
	}
	if keys == nil {
		return ""
	}
	return `"contextKeys":{` + strings.Join(keys, ",") + `}`
}

func (r *reference) enabled(integrations json.RawMessage) bool {
	if kind(integrations) != '{' {
		return true
	}
	names := object(integrations)
	for _, name := range r.cfg.IntegrationNames {
		if setting := names[name]; setting != nil {
			return string(setting) != "false"
		}
	}
	// All can be in any letter case, and the last one applies. A map does not keep the order of the
	// names, so decode them again in order.
	send := true
	d := json.NewDecoder(bytes.NewReader(integrations))
	must1(d.Token())
	for d.More() {
		name := must1(d.Token()).(string)
		var setting json.RawMessage
		must(d.Decode(&setting))
		if asciiEqualFold(name, "all") {
			send = string(setting) != "false"
		}
	}
	return send
}

func (r *reference) consents(call map[string]json.RawMessage) bool {
	want := r.cfg.Filter.Consent
	if len(want.Categories) == 0 {
		return true
	}
	consent := follow(call, "context.consent")
	management := follow(call, "context.consentManagement")
	declined := 0
	switch {
	case kind(consent) == '{':
		preferences := map[string]json.RawMessage{}
		if value := object(consent)["categoryPreferences"]; kind(value) == '{' {
			preferences = object(value)
		}
		for _, category := range want.Categories {
			if string(preferences[category]) != "true" {
				declined++
			}
		}
	case kind(management) == '{':
		ids := object(management)
		for _, category := range want.Categories {
			if in(ids["deniedConsentIds"], category) || !in(ids["allowedConsentIds"], category) {
				declined++
			}
		}
	default:
		return want.SendMissing
	}
	if want.Any {
		return declined < len(want.Categories)
	}
	return declined == 0
}

// in reports whether a value is an array that contains the given string.
func in(array json.RawMessage, element string) bool {
	if kind(array) != '[' {
		return false
	}
	var items []json.RawMessage
	must(json.Unmarshal(array, &items))
	return slices.ContainsFunc(items, func(item json.RawMessage) bool {
		return kind(item) == '"' && text(item) == element
	})
}

func (r *reference) filter(call map[string]json.RawMessage, at int64) Reason {
	f := r.cfg.Filter
	for _, c := range f.Conditions {
		var value string
		present := true
		switch field := follow(call, c.Field); {
		case c.Topic != "":
			value, c.In = r.record.Topic, []string{c.Topic}
		case c.Header != "":
			header, ok := r.record.Header(c.Header)
			value, present = string(header), ok
		case kind(field) == '"':
			value = text(field)
		default:
			value, present = string(field), kind(field) == '0' || kind(field) == 't' || kind(field) == 'f'
		}
		if c.In != nil && (!present || !slices.Contains(c.In, value)) || present && slices.Contains(c.NotIn, value) {
			return NotSelected
		}
	}
	if name := key(call["event"]); name != "" {
		name := text(json.RawMessage(name))
		if len(f.OnlyEvents) > 0 && !slices.Contains(f.OnlyEvents, name) || slices.Contains(f.ExceptEvents, name) {
			return OtherEvent
		}
	}
	for _, path := range f.Require {
		if key(follow(call, path)) == "" {
			return Anonymous
		}
	}
	if at > 0 && f.MaxAge > 0 && r.record.Timestamp-at > f.MaxAge.Milliseconds() {
		return TooOld
	}
	if at > 0 && !f.NotBefore.IsZero() && at < f.NotBefore.UnixMilli() {
		return TooOld
	}
	return None
}

// data returns the selected members of an object, verbatim.
func (r *reference) data(properties json.RawMessage) string {
	want := r.cfg.Data
	if len(want.Only) == 0 && len(want.Except) == 0 && !want.ScalarsOnly {
		return string(properties)
	}
	var members []string
	d := json.NewDecoder(bytes.NewReader(properties))
	must1(d.Token())
	for d.More() {
		start := int(d.InputOffset())
		name := must1(d.Token()).(string)
		var value json.RawMessage
		must(d.Decode(&value))
		member := strings.TrimLeft(string(properties[start:d.InputOffset()]), ", \t\r\n")
		switch {
		case len(want.Only) > 0 && !slices.Contains(want.Only, name), slices.Contains(want.Except, name):
		case want.ScalarsOnly && strings.IndexByte("{[n", kind(value)) >= 0:
		default:
			members = append(members, member)
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// key renders a non-empty string or a number as a string. It returns "" for anything else.
func key(value json.RawMessage) string {
	switch c := kind(value); {
	case c == '"' && text(value) != "":
		return string(value)
	case c == '0':
		return `"` + string(value) + `"`
	}
	return ""
}

// follow returns the value at a dotted path, or nil.
func follow(call map[string]json.RawMessage, path string) json.RawMessage {
	name, rest, nested := strings.Cut(path, ".")
	value := call[name]
	if !nested {
		return value
	}
	if kind(value) != '{' {
		return nil
	}
	return follow(object(value), rest)
}

// kind returns the first byte of a value: '{' '[' '"' 't' 'f' 'n', '0' for any number, or 0 if
// value is nil.
func kind(value json.RawMessage) byte {
	value = bytes.TrimLeft(value, " \t\r\n")
	if len(value) == 0 {
		return 0
	}
	if strings.IndexByte("-0123456789", value[0]) >= 0 {
		return '0'
	}
	return value[0]
}

func object(value json.RawMessage) (names map[string]json.RawMessage) {
	must(json.Unmarshal(value, &names))
	return names
}

func text(value json.RawMessage) (s string) {
	must(json.Unmarshal(value, &s))
	return s
}

// asciiEqualFold is like strings.EqualFold, but does not match letters outside ASCII, such as the
// Kelvin sign, with ASCII letters.
func asciiEqualFold(a, b string) bool {
	return len(a) == len(b) && strings.EqualFold(a, b)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

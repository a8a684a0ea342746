package transform

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// UnwrapAuto must be the only element of [Config.Unwrap]. It unwraps documents that are JSON
// strings, and the following envelopes, in order of precedence:
//
//   - Jitsu: an object named httpPayload next to ingestType. This envelope repeats the call's type.
//   - EventBridge: an object named detail next to a string named detail-type.
//   - CloudEvents: data or data_base64 next to a string named specversion.
//   - Kafka Connect: payload and schema, if the object has no other field.
//   - API Gateway: a string named body next to a boolean named isBase64Encoded.
//
// An object with a Segment call type is unwrapped only if it is a Jitsu envelope.
const UnwrapAuto = "auto"

// envelope describes an object that contains calls in one of its fields.
type envelope struct {
	path      string // path of the content
	content   *jsonscan.Field
	contentIs string // possible first bytes of the content; "" for any

	marker   *jsonscan.Field // must be present as well; nil for none
	markerIs string          // possible first bytes of the marker; "" for any

	base64   *jsonscan.Field // if this field is true, the content is base64; nil for none
	isBase64 bool            // whether the content is always base64

	only []string // the object's only fields; nil for any fields
}

// envelopes contains the envelopes that wrap calls in documents that are not calls themselves. Its
// fields are separate from those of calls, because a scan gets slower with each field that it looks
// for. Documents that are not calls are therefore scanned twice.
type envelopes struct {
	fields *jsonscan.Fields
	known  []envelope // in order of precedence
}

const encodedField = "isBase64Encoded"

// jitsu returns the only known envelope that can itself have a Segment call type.
func jitsu(wanted *jsonscan.Paths) envelope {
	return envelope{
		path: "httpPayload", content: wanted.Add("httpPayload"), contentIs: "{", marker: wanted.Add("ingestType"),
	}
}

// knownEnvelopes returns the envelopes of UnwrapAuto other than Jitsu's.
func knownEnvelopes() *envelopes {
	var wanted jsonscan.Paths
	specVersion, isEncoded := wanted.Add("specversion"), wanted.Add(encodedField)
	known := []envelope{
		{path: "detail", contentIs: "{", marker: wanted.Add("detail-type"), markerIs: `"`},
		{path: "data", marker: specVersion, markerIs: `"`},
		{path: "data_base64", marker: specVersion, markerIs: `"`, isBase64: true},
		{path: "payload", marker: wanted.Add("schema"), only: []string{"payload", "schema"}},
		{path: "body", contentIs: `"`, marker: isEncoded, markerIs: "tf", base64: isEncoded},
	}
	for i := range known {
		known[i].content = wanted.Add(known[i].path)
	}
	return &envelopes{wanted.Compile(), known}
}

// envelopeAt returns the envelope whose content is at a path chosen by the user.
func envelopeAt(wanted *jsonscan.Paths, path string, names []string) envelope {
	last := len(names) - 1
	return envelope{
		path:     path,
		content:  wanted.Add(names...),
		base64:   wanted.Add(append(slices.Clone(names[:last]), encodedField)...),
		isBase64: names[last] == "data_base64",
	}
}

// hasContent reports whether the current document has a field that can be the content of an
// envelope in Mapping.envelopes. The compiler inlines the method, so the check costs next to
// nothing per call.
func (t *Transformer) hasContent() bool {
	for i := range t.m.envelopes {
		if t.scan.Bytes(t.m.envelopes[i].content) != nil {
			return true
		}
	}
	return false
}

// envelope returns the envelope that matches document, and the scanner that has found its fields.
// The document must be an object. If no envelope matches, envelope returns nil.
func (t *Transformer) envelope(document []byte, typ callType) (*envelope, *jsonscan.Scanner) {
	if e := match(t.m.envelopes, t.scan); e != nil {
		return e, t.scan
	}
	if typ != notACall || t.outer == nil {
		return nil, nil
	}
	_, _ = t.outer.Scan(document, nil) // document is valid
	return match(t.m.others.known, t.outer), t.outer
}

// match returns the first of the given envelopes that matches the current document of scan, or nil
// if none does.
func match(envelopes []envelope, scan *jsonscan.Scanner) *envelope {
	for i := range envelopes {
		e := &envelopes[i]
		if has(scan.Bytes(e.content), e.contentIs) &&
			(e.marker == nil || has(scan.Bytes(e.marker), e.markerIs)) &&
			(e.only == nil || hasOnly(scan, e.only)) {
			return e
		}
	}
	return nil
}

// has reports whether a value is present and begins with one of the given bytes. If no bytes are
// given, any value that is present matches.
func has(raw []byte, first string) bool {
	return len(raw) > 0 && (first == "" || strings.IndexByte(first, raw[0]) >= 0)
}

// hasOnly reports whether the current document of scan has no fields except the given ones.
func hasOnly(scan *jsonscan.Scanner, names []string) bool {
	for name := range scan.Names {
		if !slices.Contains(names, string(name)) {
			return false
		}
	}
	return true
}

// unwrap maps the calls in an envelope's content. scan must have found the envelope's fields. The
// content is JSON, or a string that contains JSON or base64. Invalid content counts as one
// rejected call.
func (t *Transformer) unwrap(r *record, e *envelope, scan *jsonscan.Scanner) {
	content := scan.Bytes(e.content)
	encoded := e.isBase64 || e.base64 != nil && has(scan.Bytes(e.base64), "t")
	switch {
	case content[0] == 'n':
		r.skip(Tombstone, "")
		return
	case content[0] == '"':
		content = scan.Text(content)
	case encoded:
		r.skip(Malformed, fmt.Sprintf("%s is %s instead of base64", e.path, jsonTypes[typeOf(content)]))
		return
	}
	if encoded {
		var err error
		if t.decoded, err = base64.StdEncoding.AppendDecode(t.decoded[:0], content); err != nil {
			r.skip(Malformed, e.path+": invalid base64")
			return
		}
		content = t.decoded
	}
	t.unwrapped(r, e.path, content)
}

// unwrapped maps the calls in the documents of text. path describes where the text was found.
func (t *Transformer) unwrapped(r *record, path string, text []byte) {
	before, outer := *r, t.scan
	r.path, r.offset = path+": ", 0
	t.scan = t.inner
	document, err := t.scan.Scan(text, t.item(r))
	err = t.documents(r, before.index, document, err, false)
	t.scan.Reset()
	t.scan = outer
	if err != nil {
		r.dst, r.calls, r.sources, r.index = before.dst, before.calls, before.sources, before.index
		r.skip(Malformed, r.path+err.Error())
	}
	r.path, r.offset = before.path, before.offset
}

// TrimPrefix returns a record's value without the prefix written by a schema registry's serializer.
func TrimPrefix(value []byte) []byte { return value[prefixLength(value):] }

// FieldNames returns the field names of a JSON object, sorted and without duplicates. Names that do
// not look like identifiers are omitted, because such names can be data. FieldNames helps people
// recognize the format of a record; the mapping does not use the function.
func FieldNames(object []byte) (names []string) {
	scanner := new(jsonscan.Paths).Compile().NewScanner()
	if _, err := scanner.Scan(object, nil); err != nil {
		return nil
	}
	for name := range scanner.Names {
		if identifier.Match(name) {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

var identifier = regexp.MustCompile(`^[@$]?[A-Za-z_][A-Za-z0-9_$.-]{0,39}$`)

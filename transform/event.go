package transform

import (
	"bytes"
	"fmt"
	"strconv"
)

// call maps the call whose fields t.scan has found, and adds the result to r.
func (t *Transformer) call(r *record, source []byte, typ callType) {
	if !r.next() {
		return
	}
	var c Call
	if dst := t.render(r, typ, &c); c.Reason == None {
		r.dst = dst
	}
	r.add(c, source)
}

// render appends the call's event and a comma to r.dst, and sets the flags of c. It applies the rules
// in order. If a rule filters or rejects the call, render stores the reason in c and stops, and the
// result can contain part of an event.
func (t *Transformer) render(r *record, typ callType, c *Call) []byte {
	m, dst, start := t.m, r.dst, len(r.dst)

	switch typ {
	case notACall:
		return skip(dst, c, NotACall, "")
	case otherCall:
		return skip(dst, c, NotTrack, "")
	}
	if m.consent != nil && !t.consented() {
		return skip(dst, c, NoConsent, "")
	}
	if m.honor && !t.included() {
		return skip(dst, c, Integrations, "")
	}

	if m.filters != nil {
		if reason := t.filter(r); reason != None {
			return skip(dst, c, reason, "")
		}
	}

	name := t.scan.Bytes(m.event)
	if !isKey(name) {
		return skip(dst, c, NoEventName, eventIs[typeOf(name)])
	}
	dst = append(dst, eventStart...)
	dst = appendKey(dst, name)

	dst = append(dst, ',')
	dst = append(dst, m.keyOpen...)
	keys := 0
	for i := range m.keys {
		rule := &m.keys[i]
		for _, field := range rule.fields {
			if key := t.scan.Bytes(field); isKey(key) {
				if keys++; keys > 1 {
					dst = append(dst, ',')
				}
				dst = append(dst, rule.name...)
				dst = appendKey(dst, key)
				break
			}
		}
	}
	if keys == 0 {
		return skip(dst, c, NoUserKey, m.noKey)
	}
	dst = append(dst, m.keyClose...)

	var ms int64
	ms, c.RecordTime = t.time(r.Timestamp)
	if ms <= 0 {
		return skip(dst, c, NoTimestamp, "neither the call nor the record has a valid timestamp")
	}
	dst = append(dst, `,"creationDate":`...)
	dst = strconv.AppendInt(dst, ms, 10)

	for _, field := range m.metricValue {
		raw := t.scan.Bytes(field)
		if number := t.coerce.Number(raw); number != nil {
			dst = append(dst, `,"metricValue":`...)
			dst = append(dst, number...)
			c.HasMetricValue, c.NoMetricValue = true, false
			break
		}
		c.NoMetricValue = c.NoMetricValue || len(raw) > 0 && raw[0] != 'n'
	}

	properties := t.scan.Bytes(m.properties)
	dst = append(dst, `,"data":`...)
	switch {
	case properties == nil, properties[0] == 'n':
		dst = append(dst, `{}`...)
	case properties[0] == '{' && m.data != nil:
		dst = t.appendData(dst)
	case properties[0] == '{':
		dst = append(dst, properties...)
	default:
		return skip(dst, c, PropertiesNotObject, propertiesIs[typeOf(properties)])
	}
	dst = append(dst, '}')

	if size := len(dst) - start; m.maxEventBytes > 0 && size > m.maxEventBytes {
		return skip(dst, c, TooLarge, fmt.Sprintf("the event has %d bytes, more than the limit of %d", size, m.maxEventBytes))
	}
	return append(dst, ',')
}

// time returns the time of the call that t.scan has found, in Unix milliseconds. If no field contains
// a readable time, time returns the record's timestamp and true. The clock is no fallback, because a
// replay must produce the same event.
func (t *Transformer) time(record int64) (ms int64, isRecord bool) {
	for _, field := range t.m.times {
		if at, ok := t.coerce.Time(t.scan.Bytes(field)); ok {
			return at, false
		}
	}
	return record, true
}

// eventStart is the part of an event before its name.
const eventStart = `{"kind":"custom","key":`

// EventName returns the name of an event that a Transformer rendered, as a JSON string with quotes.
// Text after the event, such as its comma, is ignored. If event does not begin with such an event,
// EventName returns nil.
func EventName(event []byte) []byte {
	name, ok := bytes.CutPrefix(event, []byte(eventStart))
	if !ok || len(name) == 0 {
		return nil
	}
	if end := bytes.IndexByte(name[1:], '"'); end >= 0 && bytes.IndexByte(name[1:1+end], '\\') < 0 {
		return name[:end+2]
	}
	for end := 1; end < len(name); end++ { // the name contains escape sequences
		switch name[end] {
		case '\\':
			end++
		case '"':
			return name[:end+1]
		}
	}
	return nil
}

// skip sets c to the result for a call that is filtered or rejected, and returns dst.
func skip(dst []byte, c *Call, reason Reason, detail string) []byte {
	*c = Call{Reason: reason, Detail: detail}
	return dst
}

// callType is the kind of Segment call that an object is, if any.
type callType uint8

const (
	notACall callType = iota
	otherCall
	trackCall
)

// callType returns the type of the object whose fields t.scan has found. Segment asks destinations
// to accept any letter case.
func (t *Transformer) callType() callType {
	raw := t.scan.Bytes(t.m.typ)
	if typ := callTypeOf(raw); typ != notACall || !has(raw, `"`) {
		return typ
	}
	t.scratch = append(t.scratch[:0], '"')
	for _, c := range t.scan.Text(raw) {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		t.scratch = append(t.scratch, c)
	}
	t.scratch = append(t.scratch, '"')
	return callTypeOf(t.scratch)
}

// callTypeOf returns the call type with the given name, which must be in lower case and in quotes.
// If there is no such type, callTypeOf returns notACall.
func callTypeOf(quoted []byte) callType {
	switch string(quoted) {
	case `"track"`:
		return trackCall
	case `"identify"`, `"page"`, `"screen"`, `"group"`, `"alias"`, `"delete"`:
		return otherCall
	}
	return notACall
}

// included reports whether the call's integrations object includes this destination. The rule is
// the same as in Segment's facade library (function enabled). The default is the value of the member
// All, whose name is matched case-insensitively. The first configured name that the object contains
// overrides the default. The value false excludes the destination. Any other value, or none,
// includes it.
func (t *Transformer) included() bool {
	for _, name := range t.m.integrationNames {
		if raw := t.scan.Bytes(name); raw != nil {
			return raw[0] != 'f'
		}
	}
	all := t.scan.Bytes(t.m.integrationsAll)
	return all == nil || all[0] != 'f'
}

// isKey reports whether raw is a non-empty string or a number. Only such a value can be an event
// name, a user key, or a context key.
func isKey(raw []byte) bool {
	return len(raw) > 0 && (raw[0] == '"' && len(raw) > 2 || isNumber(raw[0]))
}

// appendKey appends a key as a JSON string. It copies the digits of a number verbatim.
func appendKey(dst, raw []byte) []byte {
	if raw[0] == '"' {
		return append(dst, raw...)
	}
	dst = append(dst, '"')
	dst = append(dst, raw...)
	return append(dst, '"')
}

// isNumber reports whether a value that begins with c is a number.
func isNumber(c byte) bool { return c-'0' <= 9 || c == '-' }

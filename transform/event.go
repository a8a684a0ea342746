package transform

import (
	"fmt"
	"strconv"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// call maps the call whose fields t.scan has found, and adds the result to r.
func (t *Transformer) call(r *record) {
	dst, reason, detail := t.render(r.dst, r.timestamp)
	if reason == None {
		r.dst = dst
	}
	r.add(reason, detail)
}

// render appends the event and a comma to dst. It applies the rules in order and returns the reason
// for the first rule that the call breaks. In that case, the result can contain part of an event.
func (t *Transformer) render(dst []byte, timestamp int64) (_ []byte, reason Reason, detail string) {
	m, start := t.m, len(dst)

	if !t.isTrack(t.scan.Bytes(m.typ)) {
		return dst, NotTrack, ""
	}
	if m.honor && !t.included() {
		return dst, Integrations, ""
	}

	name := t.scan.Bytes(m.event)
	if !isKey(name) {
		return dst, NoEventName, eventIs[typeOf(name)]
	}
	dst = append(dst, `{"kind":"custom","key":`...)
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
		return dst, NoUserKey, "no configured field is a non-empty string or a number"
	}
	dst = append(dst, m.keyClose...)

	ms := timestamp // fallback; not the clock, because a replay must produce the same event
	for _, field := range m.times {
		if at, ok := t.time(t.scan.Bytes(field)); ok {
			ms = at
			break
		}
	}
	if ms <= 0 {
		return dst, NoTimestamp, "neither the call nor the record has a valid timestamp after 1970"
	}
	dst = append(dst, `,"creationDate":`...)
	dst = strconv.AppendInt(dst, ms, 10)

	for _, field := range m.metricValue {
		if number := t.number(t.scan.Bytes(field)); number != nil {
			dst = append(dst, `,"metricValue":`...)
			dst = append(dst, number...)
			break
		}
	}

	properties := t.scan.Bytes(m.properties)
	dst = append(dst, `,"data":`...)
	switch {
	case properties == nil, properties[0] == 'n':
		dst = append(dst, `{}`...)
	case properties[0] == '{':
		dst = append(dst, properties...)
	default:
		return dst, PropertiesNotObject, propertiesIs[typeOf(properties)]
	}
	dst = append(dst, '}')

	if size := len(dst) - start; m.maxEventBytes > 0 && size > m.maxEventBytes {
		return dst, TooLarge, fmt.Sprintf("the event has %d bytes, more than the limit of %d", size, m.maxEventBytes)
	}
	dst = append(dst, ',')
	return dst, None, ""
}

// isTrack reports whether raw is the string "track" in any ASCII letter case. Segment asks
// destinations to accept any case.
func (t *Transformer) isTrack(raw []byte) bool {
	if string(raw) == `"track"` {
		return true
	}
	if len(raw) == 0 || raw[0] != '"' {
		return false
	}
	s := t.scan.Text(raw)
	return len(s) == len("track") &&
		s[0]|0x20 == 't' && s[1]|0x20 == 'r' && s[2]|0x20 == 'a' && s[3]|0x20 == 'c' && s[4]|0x20 == 'k'
}

// included reports whether the call's integrations object includes this destination. The rule is
// the same as in Segment's facade library (function enabled). The value of All, in any letter case,
// is the default. The first configured name in the object overrides the default: false excludes the
// destination, and any other value includes it.
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

// number returns the finite number in raw, which can be a JSON number or a string that consists of
// one. If there is none, it returns nil. The result is valid until the next call to t.scan.Text.
func (t *Transformer) number(raw []byte) []byte {
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		raw = t.scan.Text(raw)
		if !jsonscan.IsNumber(raw) {
			return nil
		}
	} else if !isNumber(raw[0]) {
		return nil
	}
	if !isFinite(raw) {
		return nil
	}
	return raw
}

// isFinite reports whether a JSON number is within the range of a float64. Parsers disagree on
// numbers outside this range (RFC 8259, section 6).
func isFinite(number []byte) bool {
	small := len(number) < 300 // always in range if there is no exponent
	for _, c := range number {
		if c|0x20 == 'e' {
			small = false
		}
	}
	if small {
		return true
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err == nil
}

// isNumber reports whether a value that begins with c is a number.
func isNumber(c byte) bool { return isDigit(c) || c == '-' }

package transform

import (
	"errors"
	"fmt"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Filter selects calls. Each field that is set removes the calls that it does not select, with the
// reason given at the field. The fields are listed in the order in which they apply: Consent before
// a call's integrations object, the others after it. All of them depend only on the record.
type Filter struct {
	Consent Consent

	// Conditions must all hold. Otherwise, the reason is NotSelected.
	Conditions []Condition

	// OnlyEvents lists the names of the events to select, and ExceptEvents those not to select. If
	// OnlyEvents is empty, all names are selected. Names must match exactly. A number's digits
	// are its name. The reason is OtherEvent. A call without an event name is not filtered, because
	// it is rejected.
	OnlyEvents, ExceptEvents []string

	// Require lists the paths of fields that must contain a non-empty string or a number. The reason
	// is Anonymous.
	Require []string

	// MaxAge is the maximum time from the call's time to the record's timestamp. The call's time is
	// the one that becomes creationDate. Zero means no limit. The reason is TooOld.
	MaxAge time.Duration

	// NotBefore is the earliest time of a call. The zero time means no limit. The reason is TooOld.
	NotBefore time.Time
}

// Consent describes the consent that a call must contain. The reason is NoConsent.
//
// A call contains the user's choices in one of two objects. In Segment's, which is context.consent,
// the value true in categoryPreferences is consent to a category. In RudderStack's, which is
// context.consentManagement, the user declined the IDs in deniedConsentIds, and consented to the
// others in allowedConsentIds. If a call contains both, Segment's is used. The user declined every
// category that the object does not name, and therefore all of them if it is empty.
type Consent struct {
	Categories  []string // if empty, consent is not required
	Any         bool     // whether consent to one of the categories is enough
	SendMissing bool     // whether to select calls that contain neither object
}

// Condition is a condition on exactly one of a field, a record header, or the topic. A condition on
// a field or a header has either In or NotIn. An absent field or header is not in any list.
type Condition struct {
	Field  string // path of a field. Its value is the text of a string, a number as written, true, or false
	Header string // name of a record header. If it is repeated, the last one counts
	Topic  string // the record's topic must be this one

	In, NotIn []string // the value must, or must not, be one of these
}

// filters is the compiled form of the part of a Filter that follows the integrations object.
type filters struct {
	topics       []string // the record's topic must equal each of them
	headers      []condition
	fields       []condition
	byName       bool // whether only or except is not empty
	only, except set
	required     []*jsonscan.Field
	maxAge       int64 // milliseconds; 0 for no limit
	notBefore    int64 // Unix milliseconds; 0 for no limit
}

// condition is a compiled condition on a header or a field.
type condition struct {
	header string
	field  *jsonscan.Field
	values set
	in     bool // whether the value must be in values; otherwise it must not
}

// set is a set of strings.
type set struct {
	few  []string            // all elements, if there are at most maxFew
	many map[string]struct{} // all elements, if there are more
}

// maxFew is the number of elements up to which comparing all of them is faster than a map.
const maxFew = 8

func setOf(elements []string) set {
	if len(elements) <= maxFew {
		return set{few: elements}
	}
	s := set{many: make(map[string]struct{}, len(elements))}
	for _, e := range elements {
		s.many[e] = struct{}{}
	}
	return s
}

func (s *set) has(element []byte) bool {
	if s.many != nil {
		_, ok := s.many[string(element)]
		return ok
	}
	for _, e := range s.few { //nolint:modernize // slices.Contains would copy the element
		if string(element) == e {
			return true
		}
	}
	return false
}

func (s *set) isEmpty() bool { return len(s.few) == 0 && s.many == nil }

// compile returns the compiled filters, or nil if there are none. paths adds the given paths and
// reports the invalid ones under the given key.
func (f *Filter) compile(paths func(key string, paths []string) []*jsonscan.Field) (*filters, error) {
	var errs []error
	c := &filters{
		only: setOf(f.OnlyEvents), except: setOf(f.ExceptEvents), required: paths("require", f.Require),
		maxAge: int64((f.MaxAge + time.Millisecond - 1) / time.Millisecond),
	}
	if !f.NotBefore.IsZero() {
		c.notBefore = f.NotBefore.UnixMilli()
	}
	if f.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("max_age: must be at least 0s, got %v", f.MaxAge))
	}
	for i, condition := range f.Conditions {
		key := fmt.Sprintf("only: condition %d", i+1)
		if rule := condition.Invalid(); rule != "" {
			errs = append(errs, fmt.Errorf("%s: %s", key, rule))
			continue
		}
		c.add(condition, func(path string) []*jsonscan.Field { return paths(key, []string{path}) })
	}
	c.byName = !c.only.isEmpty() || !c.except.isEmpty()
	unset := len(f.Conditions) == 0 && !c.byName && c.required == nil && c.maxAge == 0 && c.notBefore == 0
	if unset || len(errs) > 0 {
		c = nil
	}
	return c, errors.Join(errs...)
}

// Invalid returns the rule that the condition breaks, or "". It does not check the path.
func (c Condition) Invalid() string {
	subjects := 0
	for _, s := range []string{c.Field, c.Header, c.Topic} {
		if s != "" {
			subjects++
		}
	}
	lists := 0
	for _, list := range [][]string{c.In, c.NotIn} {
		if len(list) > 0 {
			lists++
		}
	}
	switch {
	case subjects != 1:
		return "must have exactly one of field, header, and topic"
	case c.Topic != "" && lists > 0:
		return "must not have in or not_in, because it has topic"
	case c.Topic == "" && lists != 1:
		return "must have either in or not_in, with at least one value"
	}
	return ""
}

// add adds a valid condition. paths adds the path of a field, and returns nil if the path is invalid.
func (f *filters) add(c Condition, paths func(string) []*jsonscan.Field) {
	compiled := condition{header: c.Header, values: setOf(c.In), in: len(c.In) > 0}
	if !compiled.in {
		compiled.values = setOf(c.NotIn)
	}
	switch {
	case c.Topic != "":
		f.topics = append(f.topics, c.Topic)
	case c.Header != "":
		f.headers = append(f.headers, compiled)
	default:
		for _, field := range paths(c.Field) {
			compiled.field = field
			f.fields = append(f.fields, compiled)
		}
	}
}

// selectsRecord reports whether the conditions on the record's topic and headers hold.
func (f *filters) selectsRecord(r *Record) bool {
	for _, topic := range f.topics {
		if r.Topic != topic {
			return false
		}
	}
	for i := range f.headers {
		c := &f.headers[i]
		found := false
		if r.Header != nil {
			value, ok := r.Header(c.header)
			found = ok && c.values.has(value)
		}
		if found != c.in {
			return false
		}
	}
	return true
}

// filter returns the reason why the filters after the integrations object remove the track call that
// t.scan has found, or None.
func (t *Transformer) filter(r *record) Reason {
	f := t.m.filters
	if !r.selected {
		return NotSelected
	}
	for i := range f.fields {
		c := &f.fields[i]
		value, ok := t.text(c.field)
		if found := ok && c.values.has(value); found != c.in {
			return NotSelected
		}
	}
	if name := t.scan.Bytes(t.m.event); f.byName && isKey(name) {
		if name[0] == '"' {
			name = t.scan.Text(name)
		}
		if !f.only.isEmpty() && !f.only.has(name) || f.except.has(name) {
			return OtherEvent
		}
	}
	for _, field := range f.required {
		if !isKey(t.scan.Bytes(field)) {
			return Anonymous
		}
	}
	if f.maxAge > 0 || f.notBefore != 0 {
		ms, _ := t.time(r.Timestamp)
		if ms > 0 && (f.maxAge > 0 && r.Timestamp-ms > f.maxAge || f.notBefore != 0 && ms < f.notBefore) {
			return TooOld
		}
	}
	return None
}

// text returns the decoded text of a string, or a number, true, or false as written. ok is false for
// any other value. The text is valid until the next call to text.
func (t *Transformer) text(field *jsonscan.Field) (text []byte, ok bool) {
	switch raw := t.scan.Bytes(field); {
	case len(raw) == 0:
		return nil, false
	case raw[0] == '"':
		return t.scan.Text(raw), true
	case has(raw, "n{["):
		return nil, false
	default:
		return raw, true
	}
}

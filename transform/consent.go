package transform

import "github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"

// consentRule is a compiled Consent.
type consentRule struct {
	Consent
	consent         *jsonscan.Field   // Segment's object
	choices         []*jsonscan.Field // its category preferences, by index of the category
	management      *jsonscan.Field   // RudderStack's object
	denied, allowed *jsonscan.Field   // its lists of IDs
}

// compile returns the compiled rule, or nil if consent is not required.
func (c Consent) compile(wanted *jsonscan.Paths) *consentRule {
	if len(c.Categories) == 0 {
		return nil
	}
	rule := &consentRule{
		Consent:    c,
		consent:    wanted.Add("context", "consent"),
		management: wanted.Add("context", "consentManagement"),
		denied:     wanted.Add("context", "consentManagement", "deniedConsentIds"),
		allowed:    wanted.Add("context", "consentManagement", "allowedConsentIds"),
	}
	for _, category := range c.Categories {
		rule.choices = append(rule.choices, wanted.Add("context", "consent", "categoryPreferences", category))
	}
	return rule
}

// consented reports whether the call in t.scan contains the required consent.
func (t *Transformer) consented() bool {
	rule := t.m.consent
	var consents func(category int) bool
	switch {
	case has(t.scan.Bytes(rule.consent), "{"):
		consents = func(i int) bool { return has(t.scan.Bytes(rule.choices[i]), "t") }
	case has(t.scan.Bytes(rule.management), "{"):
		consents = func(i int) bool {
			id := rule.Categories[i]
			return !t.ids.contain(t.scan.Bytes(rule.denied), id) && t.ids.contain(t.scan.Bytes(rule.allowed), id)
		}
	default:
		return rule.SendMissing
	}
	for i := range rule.Categories {
		if consents(i) == rule.Any {
			return rule.Any
		}
	}
	return !rule.Any
}

// idList searches lists of IDs. It is not safe for concurrent use.
type idList struct {
	scan  *jsonscan.Scanner
	id    string
	found bool
	item  func(offset int, value []byte) // compares an item with id
}

func newIDList() *idList {
	l := &idList{scan: new(jsonscan.Paths).Compile().NewScanner()}
	l.item = func(_ int, value []byte) {
		l.found = l.found || value[0] == '"' && string(l.scan.Text(value)) == l.id
	}
	return l
}

// contain reports whether a value is an array that contains the given string.
func (l *idList) contain(value []byte, id string) bool {
	if !has(value, "[") {
		return false
	}
	l.id, l.found = id, false
	_, _ = l.scan.Scan(value, l.item) // value is valid
	l.scan.Reset()
	return l.found
}

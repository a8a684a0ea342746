package transform

import "github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"

// Data selects the properties that become an event's data. The selected properties are copied
// verbatim and in order. Each property is selected on its own, even if its name is repeated. The
// zero Data selects all properties.
type Data struct {
	Only        []string // the names to select; empty for all
	Except      []string // the names not to select
	ScalarsOnly bool     // whether to select only strings, numbers, and booleans
}

// dataRule is a compiled Data.
type dataRule struct {
	only, except set
	scalarsOnly  bool
}

// compile returns the compiled rule, or nil if all properties are selected.
func (d Data) compile() *dataRule {
	if len(d.Only) == 0 && len(d.Except) == 0 && !d.ScalarsOnly {
		return nil
	}
	return &dataRule{setOf(d.Only), setOf(d.Except), d.ScalarsOnly}
}

// appendData appends an object of the selected properties. The properties that t.scan has found must
// be an object.
func (t *Transformer) appendData(dst []byte) []byte {
	dst = append(dst, '{')
	first := true
	for property := range t.scan.Members(t.m.properties) {
		if !t.m.data.selects(property, t.scan.Text(property.Name)) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, property.Text...)
	}
	return append(dst, '}')
}

// selects reports whether a property is selected. name is its decoded name.
func (d *dataRule) selects(property jsonscan.Member, name []byte) bool {
	if d.scalarsOnly && has(property.Value, "{[n") {
		return false
	}
	return (d.only.isEmpty() || d.only.has(name)) && !d.except.has(name)
}

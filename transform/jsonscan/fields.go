package jsonscan

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Paths collects the paths of the fields to find. The zero Paths is empty and ready to use.
type Paths struct{ root Field }

// Fields is the compiled form of Paths. It is immutable and safe for concurrent use.
type Fields struct{ root Field }

// Field identifies a path and the value found there. Fields form a tree. The root represents the
// document, and each child represents a wanted name in an object.
type Field struct {
	// slot is the index of the value's span in a Scanner. A field and its descendants occupy the
	// slots [slot, end), so one call to clear discards all their values.
	slot, end int

	children map[string]*Field // by name or alias; unused after compile

	// table is an open-addressing hash table of the children. Its length is a power of two. Except
	// for the root, a field without children has no table.
	table []entry
}

type entry struct {
	prefix uint64 // prefix8 of name
	name   string
	field  *Field // nil if the entry is free
}

// Add returns the field at a path of names, starting at the top level of the document. It adds the
// path if it is new.
func (p *Paths) Add(names ...string) *Field {
	f := &p.root
	for _, name := range names {
		child := f.children[name]
		if child == nil {
			child = &Field{}
			f.addChild(name, child)
		}
		f = child
	}
	return f
}

// Alias adds an alias for the last of the given names. The field at this path is then found under
// either name. If a document contains both, the last value counts. A field already added under the
// alias is no longer found.
func (p *Paths) Alias(alias string, names ...string) {
	p.Add(names[:len(names)-1]...).addChild(alias, p.Add(names...))
}

func (f *Field) addChild(name string, child *Field) {
	if f.children == nil {
		f.children = map[string]*Field{}
	}
	f.children[name] = child
}

// Compile returns the compiled form of p. p must not be used afterwards.
func (p *Paths) Compile() *Fields {
	p.root.compile(0)
	return &Fields{p.root}
}

// compile assigns slots to f and its descendants, starting at the given slot, and builds their
// tables. It returns the next free slot.
func (f *Field) compile(slot int) int {
	f.slot = slot
	f.end = slot + 1
	if len(f.children) == 0 && slot > 0 { // the root always has a table
		return f.end
	}
	size := 8 // at least eight entries per child, so that nearly every lookup takes one probe
	for size < 8*len(f.children) {
		size *= 2
	}
	f.table = make([]entry, size)
	for _, name := range slices.Sorted(maps.Keys(f.children)) {
		child := f.children[name]
		if child.end == 0 { // a child with several names is compiled once
			f.end = child.compile(f.end)
		}
		prefix := prefix8([]byte(name))
		i := f.index(prefix, len(name))
		for f.table[i].field != nil {
			i = (i + 1) & (size - 1)
		}
		f.table[i] = entry{prefix, name, child}
	}
	return f.end
}

// child returns the child with the given name, or nil. prefix must be prefix8(name).
func (f *Field) child(prefix uint64, name []byte) *Field {
	for i := f.index(prefix, len(name)); ; i = (i + 1) & (len(f.table) - 1) {
		e := &f.table[i]
		if e.field == nil {
			return nil
		}
		if e.prefix == prefix && len(e.name) == len(name) && (len(name) <= 8 || e.name == string(name)) {
			return e.field
		}
	}
}

// index returns the table index at which the search for a name begins. The multiplier, one of
// MurmurHash3's, is among those for which no other common name in Segment calls shares an index
// with a wanted one. Such a collision in every call costs 1% of a scan.
func (f *Field) index(prefix uint64, length int) int {
	return int((prefix+uint64(length))*0xff51afd7ed558ccd>>40) & (len(f.table) - 1)
}

// prefix8 returns the first eight bytes of a name as a little-endian number, padded with zeros.
func prefix8(name []byte) uint64 {
	if len(name) >= 8 {
		return binary.LittleEndian.Uint64(name)
	}
	var prefix uint64
	for i, c := range name {
		prefix |= uint64(c) << (8 * i)
	}
	return prefix
}

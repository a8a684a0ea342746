package jsonscan

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Paths collects the paths of the fields to find. The zero value has none.
type Paths struct{ root Field }

// Fields are compiled Paths. They never change, so any number of goroutines can use them.
type Fields struct{ root Field }

// Field stands for one path, and for the value found there. The fields form a tree. Its root stands
// for the document, its children for the wanted names at the top of the document, and so on down
// the paths.
type Field struct {
	// slot is where a Scanner keeps the span of the value. The slots of a field and of all fields
	// below it are [slot, end), so that one clear forgets all their values.
	slot, end int

	children map[string]*Field // several names can lead to one child; unused once compiled

	// table is a hash table of the children, with open addressing. Its length is a power of two. A
	// field without children has none.
	table []entry
}

type entry struct {
	prefix uint64 // of name
	name   string
	field  *Field // nil: the entry is free
}

// Add returns the field at a path of names, from the top of the document.
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

// Alias makes alias another name for the last of names: a value under either name is found for
// Add(names...). If a document holds both, the last one counts. If Add has been called with alias
// in that place before, the field that it returned is no longer found.
func (p *Paths) Alias(alias string, names ...string) {
	p.Add(names[:len(names)-1]...).addChild(alias, p.Add(names...))
}

func (f *Field) addChild(name string, child *Field) {
	if f.children == nil {
		f.children = map[string]*Field{}
	}
	f.children[name] = child
}

// Compile returns the fields at all paths of p. p must not be used afterwards.
func (p *Paths) Compile() *Fields {
	p.root.compile(0)
	return &Fields{p.root}
}

// compile assigns slots to f and all fields below it, from slot on, builds their tables, and
// returns the next free slot.
func (f *Field) compile(slot int) int {
	f.slot = slot
	f.end = slot + 1
	if len(f.children) == 0 && slot > 0 { // the root always has a table
		return f.end
	}
	size := 4 // at least four entries per child, so that nearly every lookup takes one probe
	for size < 4*len(f.children) {
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

// child returns the child with the given name, or nil. prefix is prefix8(name).
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

// index returns where in the table the search for a name begins.
func (f *Field) index(prefix uint64, length int) int {
	return int((prefix+uint64(length))*0x9e3779b97f4a7c15>>32) & (len(f.table) - 1)
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

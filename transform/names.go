package transform

import (
	"encoding/binary"
	"maps"
	"slices"
)

// node stands for one name of a path, and for the value found under it. The nodes form a tree: the root stands for the
// call, its children for the wanted names at the top of the call, and so on down the paths.
type node struct {
	// slot is where a Transformer keeps the span of the value. The slots of a node and of all nodes below it are
	// [slot, end), so that one clear forgets them all.
	slot, end int

	children map[string]*node // several names can lead to one child; unused once frozen
	table    []entry          // the children, hashed with open addressing; its length is a power of two; nil for a leaf
}

type entry struct {
	head uint64 // of name
	name string
	node *node // nil: the entry is free
}

// path returns the node at the end of a path below n, and makes what is missing of it.
func (n *node) path(names ...string) *node {
	for _, name := range names {
		child := n.children[name]
		if child == nil {
			child = &node{}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[name] = child
		}
		n = child
	}
	return n
}

// freeze gives slots to n and all below it, from slot on, builds their tables, and returns the next free slot.
func (n *node) freeze(slot int) int {
	n.slot = slot
	n.end = slot + 1
	if len(n.children) == 0 {
		return n.end
	}
	size := 4 // at least four times as many entries as children: nearly every look-up is one probe
	for size < 4*len(n.children) {
		size *= 2
	}
	n.table = make([]entry, size)
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		if child.end == 0 { // a child with several names is frozen once
			n.end = child.freeze(n.end)
		}
		h := head([]byte(name))
		i := n.index(h, len(name))
		for n.table[i].node != nil {
			i = (i + 1) & (size - 1)
		}
		n.table[i] = entry{h, name, child}
	}
	return n.end
}

// child returns the child with the given name, or nil. h is the name's head.
func (n *node) child(h uint64, name []byte) *node {
	for i := n.index(h, len(name)); ; i = (i + 1) & (len(n.table) - 1) {
		e := &n.table[i]
		if e.node == nil {
			return nil
		}
		if e.head == h && len(e.name) == len(name) && (len(name) <= 8 || e.name == string(name)) {
			return e.node
		}
	}
}

// index returns where in the table the search for a name begins.
func (n *node) index(h uint64, length int) int {
	return int((h+uint64(length))*0x9e3779b97f4a7c15>>32) & (len(n.table) - 1)
}

// head returns the first eight bytes of a name as a little-endian number; a shorter name is filled up with zeros.
func head(name []byte) uint64 {
	if len(name) >= 8 {
		return binary.LittleEndian.Uint64(name)
	}
	var h uint64
	for i, c := range name {
		h |= uint64(c) << (8 * i)
	}
	return h
}

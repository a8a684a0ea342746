package sink

import (
	"math/bits"
	"sync"
)

// SlicePool keeps slices for reuse in classes of similar capacity. Class c holds capacities from
// 2^(c-1) to below 2^c. The zero SlicePool is empty and ready for use. It is safe for concurrent
// use.
type SlicePool[T any] struct {
	classes [bits.UintSize + 1]sync.Pool // of *[]T
}

// Get returns an empty slice from the class of the given capacity, or nil if that class is empty.
// The slice has at least the given capacity if that is a power of two, and otherwise more than half
// of it.
func (p *SlicePool[T]) Get(capacity int) []T {
	if s, ok := p.classes[bits.Len(uint(capacity))].Get().(*[]T); ok {
		return *s
	}
	return nil
}

// Put adds a slice to the pool. The caller must not use the slice afterwards.
func (p *SlicePool[T]) Put(s []T) {
	s = s[:0]
	p.classes[bits.Len(uint(cap(s)))].Put(&s)
}

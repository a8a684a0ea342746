package sink

import (
	"math/bits"
	"sync"
)

// SlicePool keeps slices for reuse, grouped into classes by capacity. Class c contains slices with
// a capacity of at least 2^(c-1) and less than 2^c. The zero SlicePool is empty and ready to use. A
// SlicePool is safe for concurrent use.
type SlicePool[T any] struct {
	classes [bits.UintSize + 1]sync.Pool // of *[]T
}

// Get returns an empty slice from the class of the given capacity, or nil if that class is empty.
// If capacity is a power of two, the slice has at least that capacity. Otherwise, its capacity is
// more than half the requested capacity.
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

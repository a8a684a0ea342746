package sink

import (
	"math/bits"
	"sync"
	"unsafe"
)

// SlicePool keeps slices for reuse, grouped into classes by capacity. The pool holds at most
// maxIdle bytes, which the garbage collector does not free. The zero SlicePool is empty and ready
// to use. A SlicePool is safe for concurrent use.
type SlicePool[T any] struct {
	mu      sync.Mutex // guards the fields below
	classes [sizeClasses][][]T
	idle    int // size of all slices in classes, in bytes
}

const (
	// maxIdle is the maximum size of the unused slices in a pool, in bytes. A sync.Pool has no limit,
	// but each garbage collection empties it, and the slices then have to be allocated and grown again.
	maxIdle = 12 << 20
	// classesPerOctave is the number of classes between a power of two and the next.
	classesPerOctave = 4
	sizeClasses      = (bits.UintSize + 1) * classesPerOctave
)

// Get returns an empty slice with at least the given capacity, from the pool if possible. Its
// capacity is less than two and a half times the given capacity.
func (p *SlicePool[T]) Get(capacity int) []T {
	capacity = roundUp(capacity)
	first := sizeClass(capacity)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := first; i < first+classesPerOctave; i++ {
		class := p.classes[i]
		last := len(class) - 1
		if last < 0 {
			continue
		}
		s := class[last]
		class[last] = nil
		p.classes[i] = class[:last]
		p.idle -= size(s)
		return s
	}
	return make([]T, 0, capacity)
}

// Put adds a slice to the pool, unless the pool is full. The caller must not use the slice
// afterwards.
func (p *SlicePool[T]) Put(s []T) {
	s = s[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(s) < classesPerOctave || p.idle+size(s) > maxIdle {
		return
	}
	p.idle += size(s)
	i := sizeClass(cap(s))
	p.classes[i] = append(p.classes[i], s)
}

// roundUp returns the smallest capacity of the next class, or capacity if it is already one.
func roundUp(capacity int) int {
	capacity = max(capacity, classesPerOctave)
	step := 1 << (bits.Len(uint(capacity)) - 1) / classesPerOctave
	return (capacity + step - 1) / step * step
}

// sizeClass returns the class of a capacity, which must be at least classesPerOctave. It consists of
// the number of bits and the two bits after the first.
func sizeClass(capacity int) int {
	length := bits.Len(uint(capacity))
	return length*classesPerOctave + capacity>>(length-3)%classesPerOctave
}

// size returns the size of s's array in bytes.
func size[T any](s []T) int {
	var element T
	return cap(s) * int(unsafe.Sizeof(element))
}

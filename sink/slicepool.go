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
	p.mu.Lock()
	for i := range classesPerOctave {
		if s, ok := p.take(sizeClass(capacity) + i); ok {
			p.mu.Unlock()
			return s
		}
	}
	p.mu.Unlock()
	return make([]T, 0, capacity)
}

// Put adds a slice to the pool. If the pool is full, Put drops slices of other classes. The caller
// must not use the slice afterwards.
func (p *SlicePool[T]) Put(s []T) {
	if cap(s) < classesPerOctave {
		return
	}
	s = s[:0]
	own := sizeClass(cap(s))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; p.idle+size(s) > maxIdle && i < sizeClasses; i++ {
		for ok := i != own; ok && p.idle+size(s) > maxIdle; {
			_, ok = p.take(i)
		}
	}
	if p.idle+size(s) > maxIdle {
		return
	}
	p.idle += size(s)
	p.classes[own] = append(p.classes[own], s)
}

// take removes a slice from a class, and reports false if the class is empty. The caller holds mu.
func (p *SlicePool[T]) take(class int) (s []T, ok bool) {
	last := len(p.classes[class]) - 1
	if last < 0 {
		return nil, false
	}
	s = p.classes[class][last]
	p.classes[class][last] = nil
	p.classes[class] = p.classes[class][:last]
	p.idle -= size(s)
	return s, true
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

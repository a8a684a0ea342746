package sink

import "sync"

// Budget bounds the total size of all request bodies, open and sealed, across partitions. Callers
// may add other memory, such as that of unwritten dead letters. A Budget is safe for concurrent
// use.
//
// Add never blocks, because a rendered body is already in memory. Instead, callers wait for
// [Budget.Room] before they render more. Usage can therefore exceed the limit by the bytes that
// callers render between two checks.
type Budget struct {
	limit int64

	mu   sync.Mutex // guards the fields below
	used int64
	full chan struct{} // closed while used >= limit
	room chan struct{} // closed while used < limit
}

// NewBudget returns a budget with the given limit in bytes, which must be positive.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit, full: make(chan struct{}), room: make(chan struct{})}
	close(b.room)
	return b
}

// Limit returns the limit in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Add increases the bytes in use by n. A negative n releases bytes.
func (b *Budget) Add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.used >= b.limit
	b.used += int64(n)
	switch is := b.used >= b.limit; {
	case is && !was:
		close(b.full)
		b.room = make(chan struct{})
	case was && !is:
		close(b.room)
		b.full = make(chan struct{})
	}
}

// Used returns the number of bytes in use.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Full returns a channel that is closed when the budget is exhausted. The channel may already be
// closed.
func (b *Budget) Full() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full
}

// Room returns a channel that is closed when the budget has room. The channel may already be
// closed.
func (b *Budget) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

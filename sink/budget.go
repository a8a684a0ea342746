package sink

import "sync"

// Budget bounds the bytes of all bodies, open and sealed, of all partitions.
//
// Taking never blocks, because what was rendered must go somewhere: a taker looks
// at [Budget.Room] before it renders more. The bound is therefore exceeded by at
// most what each taker renders between two looks. It is safe for concurrent use.
type Budget struct {
	limit int64

	mu   sync.Mutex    // guards the fields below
	used int64         // bytes taken and not given back
	full chan struct{} // closed while used >= limit
	room chan struct{} // closed while used < limit
}

// NewBudget returns a budget of limit bytes, more than 0.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit, full: make(chan struct{}), room: make(chan struct{})}
	close(b.room)
	return b
}

// Limit returns the bound.
func (b *Budget) Limit() int64 { return b.limit }

// Add takes n bytes, or gives back -n.
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

// Used returns the bytes taken at this instant.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Full returns a channel that is closed if the budget is used up, or once it is.
func (b *Budget) Full() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full
}

// Room returns a channel that is closed if there is room, or once there is.
func (b *Budget) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

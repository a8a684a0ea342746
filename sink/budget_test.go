package sink

import (
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// isClosed reports whether a channel is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestBudgetSignalsFullAndRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 100).Draw(t, "limit")
		b := NewBudget(limit)
		used := int64(0)
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			full, room := b.Full(), b.Room()
			n := rapid.IntRange(-int(used), 60).Draw(t, "n")
			was := used >= limit
			b.Add(n)
			used += int64(n)
			is := used >= limit
			if b.Used() != used || b.Limit() != limit {
				t.Fatalf("%d of %d used, want %d of %d", b.Used(), b.Limit(), used, limit)
			}
			if isClosed(b.Full()) != is || isClosed(b.Room()) == is {
				t.Fatalf("%d of %d used: full %v, room %v", used, limit, isClosed(b.Full()), isClosed(b.Room()))
			}
			// Each change closes the channel that signals it, and no other.
			if isClosed(full) != (was || is) || isClosed(room) != (!was || !is) {
				t.Fatalf("full changed from %v to %v: full %v, room %v", was, is, isClosed(full), isClosed(room))
			}
		}
	})
}

func TestBudgetIsSafeForConcurrentUse(t *testing.T) {
	b := NewBudget(50)
	var takers sync.WaitGroup
	for range 8 {
		takers.Go(func() {
			for range 1000 {
				<-b.Room()
				b.Add(10)
				b.Add(-10)
			}
		})
	}
	takers.Wait()
	if b.Used() != 0 || isClosed(b.Full()) || !isClosed(b.Room()) {
		t.Errorf("%d used at the end", b.Used())
	}
}

package sink

import (
	"testing"

	"pgregory.net/rapid"
)

func TestPooledSlicesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p SlicePool[uint32]
		var lent [][]uint32
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			if len(lent) > 0 && rapid.Bool().Draw(t, "put") {
				p.Put(lent[0])
				lent = lent[1:]
				continue
			}
			capacity := rapid.IntRange(0, 1<<20).Draw(t, "capacity")
			if rapid.Bool().Draw(t, "put another") { // the pool need not have made all slices
				p.Put(make([]uint32, capacity+rapid.IntRange(0, 2*capacity).Draw(t, "more")))
			}
			s := p.Get(capacity)
			if len(s) != 0 || cap(s) < capacity || 2*cap(s) >= 5*max(capacity, classesPerOctave) {
				t.Fatalf("length %d and capacity %d for %d", len(s), cap(s), capacity)
			}
			for _, other := range lent {
				if &s[:1][0] == &other[:1][0] {
					t.Fatal("slice lent twice")
				}
			}
			lent = append(lent, s)
		}
	})
}

func TestPooledSlicesAreReused(t *testing.T) {
	var p SlicePool[byte]
	s := p.Get(1_000_000)
	p.Put(s)
	if again := p.Get(700_000); cap(again) != cap(s) {
		t.Errorf("capacity %d, want the slice of capacity %d again", cap(again), cap(s))
	}
}

func TestIdleSlicesAreLimited(t *testing.T) {
	var p SlicePool[uint64]
	for range 100 {
		p.Put(make([]uint64, 1<<17)) // 1 MiB
	}
	if p.idle > maxIdle || p.idle < maxIdle/2 {
		t.Errorf("%d bytes idle, limit %d", p.idle, maxIdle)
	}
	for p.idle > 0 {
		p.Get(1 << 17)
	}
}

func TestFullPoolPrefersTheSizesInUse(t *testing.T) {
	var p SlicePool[byte]
	for range maxIdle >> 20 {
		p.Put(make([]byte, 1<<20))
	}
	s := p.Get(100_000)
	p.Put(s)
	if again := p.Get(100_000); cap(again) != cap(s) || &again[:1][0] != &s[:1][0] {
		t.Error("a slice was dropped because the pool was full of slices of another size")
	}
}

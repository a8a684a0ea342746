package consumer

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// search is a breadth-first search through the states of a protocol. It expands the states of one
// depth in parallel.
type search struct {
	*protocol
	seed   maphash.Seed
	shards [64]searchShard
	found  atomic.Pointer[violation]
	depth  int
}

// searchShard holds the states whose hash maps to it.
type searchShard struct {
	mu     sync.Mutex // guards the fields below
	index  map[worldState]int32
	states []searched
	done   int // number of expanded states
}

type searched struct {
	state worldState
	from  stateRef
}

// stateRef refers to a state in a shard.
type stateRef struct{ shard, index int32 }

// violation is a transition that breaks an invariant.
type violation struct {
	from  stateRef
	to    worldState
	label label
}

func newSearch(p *protocol) *search {
	s := &search{protocol: p, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].index = map[worldState]int32{}
	}
	return s
}

// add adds a state unless it is already known.
func (s *search) add(to worldState, from stateRef) {
	shard := &s.shards[maphash.Comparable(s.seed, to)%uint64(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, known := shard.index[to]; !known {
		shard.index[to] = int32(len(shard.states))
		shard.states = append(shard.states, searched{to, from})
	}
}

// run searches until all states are found, or a transition breaks an invariant.
func (s *search) run() *violation {
	for _, state := range s.initial() {
		s.add(state, stateRef{-1, 0})
	}
	expanders := make([]*expander, min(runtime.GOMAXPROCS(0), 4))
	for i := range expanders {
		expanders[i] = newExpander(s.protocol)
	}
	for ; s.found.Load() == nil; s.depth++ {
		var ends [len(s.shards)]int
		more := false
		for i := range s.shards {
			ends[i] = len(s.shards[i].states)
			more = more || ends[i] > s.shards[i].done
		}
		if !more {
			break
		}
		var next atomic.Int32
		var running sync.WaitGroup
		for _, x := range expanders {
			running.Go(func() {
				for {
					i := next.Add(1) - 1
					if int(i) >= len(s.shards) {
						return
					}
					s.expandShard(x, i, ends[i])
				}
			})
		}
		running.Wait()
	}
	return s.found.Load()
}

// expandShard expands the states of a shard before end.
func (s *search) expandShard(x *expander, number int32, end int) {
	shard := &s.shards[number]
	for ; shard.done < end && s.found.Load() == nil; shard.done++ {
		shard.mu.Lock()
		from := shard.states[shard.done].state
		shard.mu.Unlock()
		ref := stateRef{number, int32(shard.done)}
		x.emit = func(to worldState, l label) {
			if l.broken != "" {
				s.found.CompareAndSwap(nil, &violation{ref, to, l})
				return
			}
			s.add(to, ref)
		}
		x.expand(from)
	}
}

// states returns the number of distinct states.
func (s *search) states() (n int) {
	for i := range s.shards {
		n += len(s.shards[i].states)
	}
	return n
}

// trace returns the schedule that leads to a violation, one line per transition.
func (s *search) trace(v *violation) []string {
	lines := []string{v.label.String() + ": " + v.label.broken}
	x := newExpander(s.protocol)
	at := s.shards[v.from.shard].states[v.from.index]
	for at.from.shard >= 0 {
		before := s.shards[at.from.shard].states[at.from.index]
		var by *label
		x.emit = func(to worldState, l label) {
			if to == at.state && by == nil {
				by = &l
			}
		}
		x.expand(before.state)
		lines = append(lines, by.String())
		at = before
	}
	l := s.logs[at.state.log]
	lines = append(lines, fmt.Sprintf("%d records; record %d is filtered; LaunchDarkly rejects record %d", l.records,
		l.filtered,
		at.state.poison))
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines
}

func (l label) String() string {
	args := []any{l.a, l.b}
	if !strings.Contains(l.format, "[2]") {
		args = args[:strings.Count(l.format, "%")]
	}
	return strings.TrimSuffix(fmt.Sprintf(l.format, args...), "%!(EXTRA int=0)")
}

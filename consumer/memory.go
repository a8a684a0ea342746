package consumer

import (
	"sync/atomic"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// memory counts the bytes of all partitions' open buffers, sealed bodies, and unwritten dead
// letters. It is safe for concurrent use.
type memory struct {
	budget     *sink.Budget
	unfinished atomic.Int64 // bytes of sealed bodies and dead letters; freeing them needs no further poll
}

// addOpen adds n bytes of open buffers; n may be negative.
func (m *memory) addOpen(n int) { m.budget.Add(n) }

// addUnfinished adds n bytes of sealed bodies and dead letters; n may be negative.
func (m *memory) addUnfinished(n int) {
	m.unfinished.Add(int64(n))
	m.budget.Add(n)
}

// crowded reports whether sealed bodies and dead letters use at least half of the budget. If so, a
// window accepts a batch or dead letter only while it holds no bytes, so that stuck partitions
// leave memory for other partitions.
func (m *memory) crowded() bool { return m.unfinished.Load() >= m.budget.Limit()/2 }

package consumer

import (
	"sync/atomic"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// memory accounts for the bytes that all partitions hold: open buffers, sealed bodies, and dead
// letters that are not written yet. It is safe for concurrent use.
type memory struct {
	budget     *sink.Budget
	unfinished atomic.Int64 // the part that deliveries and dead letters free without another poll
}

// addOpen adds n bytes to what open buffers hold; n may be negative.
func (m *memory) addOpen(n int) { m.budget.Add(n) }

// addUnfinished adds n bytes to what sealed bodies and dead letters hold; n may be negative.
func (m *memory) addUnfinished(n int) {
	m.unfinished.Add(int64(n))
	m.budget.Add(n)
}

// crowded reports whether sealed bodies and dead letters hold half of the budget. Windows then accept
// one batch at a time, so that partitions that are stuck, however many, leave the other half to those
// that are not.
func (m *memory) crowded() bool { return m.unfinished.Load() >= m.budget.Limit()/2 }

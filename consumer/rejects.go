package consumer

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// RejectedCalls describes the calls rejected by the mapping for one reason since the consumer was
// created. It contains the position of the latest call, but no data from the call.
type RejectedCalls struct {
	Reason transform.Reason
	Count  int64

	// The fields below describe the latest call.
	Detail    string // why the call was rejected; contains no record data
	Topic     string
	Partition int32
	Offset    int64
	Call      int // zero-based index of the call in the record
	Time      time.Time
}

// rejects groups rejected calls by reason, for the log and for [Status]. Without the groups, a
// topic whose calls are all rejected would flood the log. The first call for each reason is logged
// immediately. Later calls are logged together, at most once per rejectsInterval, with their count
// and the latest call. rejects outlives sessions and is safe for concurrent use.
type rejects struct {
	log *zap.Logger

	mu     sync.Mutex // guards the field below
	groups [transform.Reasons]rejectGroup
}

// rejectGroup contains the calls rejected for one reason.
type rejectGroup struct {
	RejectedCalls
	logged   int64     // value of Count at the last log entry
	loggedAt time.Time // time of the last log entry
}

// rejectsInterval is the minimum time between two log entries about the same reason.
const rejectsInterval = time.Minute

// add adds a rejected call. The argument call is the call's index in the record.
func (rs *rejects) add(r *kgo.Record, call int, c transform.Call) {
	now := time.Now()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	g := &rs.groups[c.Reason]
	g.RejectedCalls = RejectedCalls{c.Reason, g.Count + 1, c.Detail, r.Topic, r.Partition, r.Offset, call, now}
	switch g.Count {
	case 1:
		g.logged, g.loggedAt = 1, now
		rs.log.Warn("call rejected", g.fields()...)
	case g.logged + 1: // the first call since the last log entry
		time.AfterFunc(g.loggedAt.Add(rejectsInterval).Sub(now), func() {
			rs.mu.Lock()
			defer rs.mu.Unlock()
			rs.flush(g)
		})
	}
}

// flush logs the number of a group's calls that have not been logged yet, if any. The caller must
// hold rs.mu.
func (rs *rejects) flush(g *rejectGroup) {
	if n := g.Count - g.logged; n > 0 {
		g.logged, g.loggedAt = g.Count, time.Now()
		rs.log.Warn("calls rejected", append(g.fields(), zap.Int64("count", n))...)
	}
}

// flushAll flushes all groups. It must be called after the last call of add.
func (rs *rejects) flushAll() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for i := range rs.groups {
		rs.flush(&rs.groups[i])
	}
}

// status returns the groups that have calls, largest first.
func (rs *rejects) status() (all []RejectedCalls) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, g := range rs.groups {
		if g.Count > 0 {
			all = append(all, g.RejectedCalls)
		}
	}
	slices.SortStableFunc(all, func(a, b RejectedCalls) int { return cmp.Compare(b.Count, a.Count) })
	return all
}

// fields returns the log fields for the reason and the latest call.
func (c *RejectedCalls) fields() []zap.Field {
	return []zap.Field{
		zap.Stringer("reason", c.Reason), zap.String("detail", c.Detail), zap.String("topic", c.Topic),
		zap.Int32("partition", c.Partition), zap.Int64("offset", c.Offset), zap.Int("call", c.Call),
	}
}

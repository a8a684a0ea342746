package consumer

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

// topicPartition identifies a partition.
type topicPartition struct {
	topic     string
	partition int32
}

// String formats the partition for errors and problems.
func (n topicPartition) String() string {
	return "topic " + n.topic + ", partition " + strconv.Itoa(int(n.partition))
}

// partition is an assigned partition. The poll loop fills its queue, intake moves records from the
// queue to the window in a goroutine of its own, and deliveries and commits empty the window. See
// drain.go for how ownership ends.
type partition struct {
	topicPartition
	member string // member ID at the time of the assignment
	log    *zap.Logger
	queue  recordQueue
	window *window
	end    logEnd

	ctx         context.Context // done when the partition is released; cancels in-flight requests
	cancel      context.CancelFunc
	sendCtx     context.Context // child of ctx; when done, no request starts, but in-flight requests continue
	stopSending context.CancelFunc
	stop        chan struct{} // closed to make intake seal the open range and return
	stopOnce    sync.Once
	stopped     chan struct{} // closed when intake has returned

	releaseIntake func() // releases the memory of intake; called once, after stopped is closed
	releaseOnce   sync.Once
}

// newPartition returns a partition that starts at s, without its intake.
func newPartition(s start, member string, log *zap.Logger, w *window) *partition {
	p := &partition{
		topicPartition: s.topicPartition, member: member,
		log:    log.With(zap.String("topic", s.topic), zap.Int32("partition", s.partition)),
		window: w, end: logEnd{offset: s.end},
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.sendCtx, p.stopSending = context.WithCancel(p.ctx)
	return p
}

// stopIntake makes intake stop mapping records, seal the open range, and return. It does not wait.
func (p *partition) stopIntake() { p.stopOnce.Do(func() { close(p.stop) }) }

// stopping reports whether intake should return. It is called for each record, so it avoids a
// select over both channels, which would lock both.
func (p *partition) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return p.ctx.Err() != nil
	}
}

// waitForRoom waits until the window has room, or the partition is stopped or released.
func (p *partition) waitForRoom() {
	if p.window.hasRoom() {
		return
	}
	p.queue.setStuck(time.Now())
	defer p.queue.setStuck(time.Time{})
	for !p.window.hasRoom() {
		select {
		case <-p.window.room:
		case <-p.stop:
			return
		case <-p.ctx.Done():
			return
		}
	}
}

// logEnd tracks the end offset of a partition's log. It is safe for concurrent use.
type logEnd struct {
	mu       sync.Mutex // guards the fields below
	offset   int64      // last stable offset from a fetch or from the leader, whichever is newer
	atLeader int64      // last stable offset reported by the leader
	asked    time.Time  // when the leader was asked
}

// setFetched records the last stable offset of a fetch, which may come from a lagging replica.
func (e *logEnd) setFetched(offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset = offset
}

// setListed records the last stable offset reported by the leader, which was asked at the given
// time.
func (e *logEnd) setListed(offset int64, asked time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset, e.atLeader, e.asked = offset, offset, asked
}

// last returns the latest known last stable offset.
func (e *logEnd) last() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.offset
}

// reached reports whether the leader, asked after since, reported an end of the log at or below
// next. Fetches do not count, because a lagging or newly elected replica reports an earlier end.
func (e *logEnd) reached(next int64, since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked.After(since) && e.atLeader <= next
}

package consumer

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

// topicPartition names a partition.
type topicPartition struct {
	topic     string
	partition int32
}

// String returns the name as it appears in errors.
func (n topicPartition) String() string {
	return "topic " + n.topic + ", partition " + strconv.Itoa(int(n.partition))
}

// partition is one assigned partition: the queue that the poll loop fills, the window that the
// committer and deliveries empty, and between them the intake, which runs in a goroutine of its own.
// See drain.go for how its ownership ends.
type partition struct {
	topicPartition
	member string // ID of the group member that it was assigned to
	log    *zap.Logger
	queue  recordQueue
	window *window
	end    logEnd

	ctx         context.Context // done when the partition is released; cancels requests in flight
	cancel      context.CancelFunc
	sendCtx     context.Context // child of ctx; when it is done no request starts, and those in flight continue
	stopSending context.CancelFunc
	stop        chan struct{} // closed: map no more records, seal, return
	stopOnce    sync.Once
	stopped     chan struct{} // closed when intake has returned

	releaseIntake func() // gives back what intake holds; called once, after stopped
	releaseOnce   sync.Once
}

// newPartition returns the partition that starts at s, without its intake.
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

// stopIntake has intake map no more records, seal what is open, and return.
func (p *partition) stopIntake() { p.stopOnce.Do(func() { close(p.stop) }) }

// stopping reports whether intake is to return. It is asked for each record, and a select over both
// channels would lock both.
func (p *partition) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return p.ctx.Err() != nil
	}
}

// waitForRoom returns when the window has room, or the partition is stopped or released.
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

// logEnd is what is known of the end of a partition's log. It is safe for concurrent use.
type logEnd struct {
	mu       sync.Mutex // guards the fields below
	offset   int64      // last stable offset, from a fetch or from the leader
	atLeader int64      // last stable offset as the leader reported it
	asked    time.Time  // when the leader was asked
}

// fetched notes the last stable offset of a fetch, which may come from a replica that lags.
func (e *logEnd) fetched(offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset = offset
}

// listed notes the last stable offset that the leader reported when it was asked.
func (e *logEnd) listed(offset int64, asked time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset, e.atLeader, e.asked = offset, offset, asked
}

// last returns the newest known last stable offset.
func (e *logEnd) last() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.offset
}

// reached reports whether the log ended at next or before when its leader was asked, after since. A
// fetch does not show that: a replica that lags, or was elected a moment ago, reports an earlier end.
func (e *logEnd) reached(next int64, since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked.After(since) && e.atLeader <= next
}

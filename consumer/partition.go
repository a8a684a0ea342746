package consumer

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// topicPartition identifies a partition by topic and number.
type topicPartition struct {
	topic     string
	partition int32
}

// String formats the partition for errors and problem texts.
func (n topicPartition) String() string {
	return "topic " + n.topic + ", partition " + strconv.Itoa(int(n.partition))
}

// partition is the state of an assigned partition. The poll loop fills the queue. Intake, in its
// own goroutine, maps queued records and pushes batches into the window. Deliveries empty the
// window. See drain.go for how ownership ends.
type partition struct {
	topicPartition
	member string // member ID when the partition was assigned
	log    *zap.Logger
	queue  recordQueue
	window *window
	end    logEnd

	until  int64          // records at or beyond this offset are not mapped; noEnd without Config.Until
	bounds chan logBounds // capacity 1; current bounds of the log, in a run with Config.Until
	ended  atomic.Bool    // intake has sealed everything before until

	unsealed unsealedTime

	ctx         context.Context // done when the partition is released; cancels in-flight requests
	cancel      context.CancelFunc
	sendCtx     context.Context // child of ctx; once done, no new request starts, but in-flight requests continue
	stopSending context.CancelFunc
	stop        chan struct{} // closed to make intake seal the open range and return
	stopOnce    sync.Once
	stopped     chan struct{} // closed when intake has returned

	releaseIntake func() // releases intake's memory; called once, after stopped is closed
	releaseOnce   sync.Once
}

// newPartition returns a partition that starts at s. The caller adds the queue and the intake.
func newPartition(s start, member string, log *zap.Logger, w *window) *partition {
	p := &partition{
		topicPartition: s.topicPartition, member: member,
		log:    log.With(zap.String("topic", s.topic), zap.Int32("partition", s.partition)),
		window: w, end: logEnd{offset: s.end}, until: noEnd, bounds: make(chan logBounds, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if s.until != nil {
		p.until = *s.until
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.sendCtx, p.stopSending = context.WithCancel(p.ctx)
	return p
}

// stopIntake signals intake to stop mapping records, seal the open range, and return. It does not
// wait.
func (p *partition) stopIntake() { p.stopOnce.Do(func() { close(p.stop) }) }

// stopping reports whether intake should return. It runs for every record, so it avoids a select
// over both channels, which would lock both.
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

// reportLost counts and logs that the records from offset to next are gone from the log.
func (p *partition) reportLost(m *metrics, offset, next int64) {
	m.lost.Add(next - offset)
	p.log.Error("retention deleted records before they were read",
		zap.Int64("offset", offset), zap.Int64("next_offset", next))
}

// unsealedTime holds the timestamp of a partition's first undelivered record that is in no sealed
// batch. Intake sets the timestamp when it opens a range. If the record has not been read yet, the
// watcher sets the timestamp. unsealedTime is safe for concurrent use.
type unsealedTime struct {
	mu     sync.Mutex // guards the fields below
	offset int64      // start of the open range, or the watermark when the watcher read the record
	time   time.Time  // zero if not set yet
}

// set records the timestamp of the first record at or after offset, unless a later offset was set.
func (u *unsealedTime) set(offset int64, timestamp time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if offset >= u.offset {
		u.offset, u.time = offset, timestamp
	}
}

// from returns the timestamp, or zero if the record is below the watermark.
func (u *unsealedTime) from(watermark int64) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.offset < watermark {
		return time.Time{}
	}
	return u.time
}

// logEnd tracks the end offset of a partition's log. It is safe for concurrent use.
type logEnd struct {
	mu       sync.Mutex // guards the fields below
	offset   int64      // most recent last stable offset, from a fetch or from the leader
	atLeader int64      // last stable offset reported by the leader
	asked    time.Time  // when the leader was asked
}

// setFetched records the last stable offset from a fetch, which a lagging replica may have served.
func (e *logEnd) setFetched(offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset = offset
}

// setListed records the last stable offset that the leader reported when asked at the given time.
func (e *logEnd) setListed(offset int64, asked time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset, e.atLeader, e.asked = offset, offset, asked
}

// last returns the most recent last stable offset.
func (e *logEnd) last() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.offset
}

// reached reports whether the leader, when asked after since, reported an end offset of at most
// next. Fetches do not count, because a lagging or newly elected replica may report an earlier end.
func (e *logEnd) reached(next int64, since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked.After(since) && e.atLeader <= next
}

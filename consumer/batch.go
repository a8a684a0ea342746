package consumer

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// position is a place in a partition's log: the next offset, and the leader epoch of the record
// before it, -1 if unknown.
type position struct {
	offset int64
	epoch  int32
}

// batch is one range of a partition's log, first.offset to next, and what is to be done with it.
//
//	open ──seal──► sealed ──record──► recorded ──deliver──► delivered ──► finished
//	                  └────────── holds no events ─────────────┘
//
// An open batch belongs to the partition's intake and grows. A sealed one stands in the window and
// never changes again; its cut is not in a commit yet, so it must not be sent. A recorded one may be
// sent: the next owner of the partition forms the same batch. A delivered one is finished once its
// dead letters are written too; the watermark then passes it.
//
// A batch that is not finished when the partition is released is left to the next owner.
type batch struct {
	first  position
	opened time.Time // when its first event arrived

	// Set by seal.
	next  int64
	body  *sink.Batch // nil if the range holds no events, and once it is delivered
	bytes int         // of the memory budget that body takes

	// Guarded by the window's mutex.
	state   batchState
	letters int // dead letters that the broker has not acknowledged
}

type batchState uint8

const (
	stateOpen batchState = iota
	stateSealed
	stateRecorded
	stateDelivered
)

// seal closes the range at next. body is nil if the range holds no events.
func (b *batch) seal(next int64, body *sink.Batch) {
	b.next, b.body, b.state = next, body, stateSealed
	if body == nil {
		b.state = stateDelivered
		return
	}
	b.bytes = body.Bytes()
}

// record notes that a commit holds the batch's cut. It reports whether the batch is now to be sent.
func (b *batch) record() bool {
	if b.state != stateSealed {
		return false
	}
	b.state = stateRecorded
	return true
}

// deliver notes that every event was accepted or written to the dead-letter topic. It drops the body,
// since the batch may wait in the window for an older one, and returns the bytes set free.
func (b *batch) deliver() (freed int) {
	b.state, b.body = stateDelivered, nil
	freed, b.bytes = b.bytes, 0
	return freed
}

// finished reports whether the watermark may pass the batch.
func (b *batch) finished() bool { return b.state == stateDelivered && b.letters == 0 }

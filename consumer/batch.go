package consumer

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// position is a point between two records of a partition's log.
type position struct {
	offset int64 // offset of the next record
	epoch  int32 // leader epoch of the previous record; -1 if unknown
}

// batch is the range [first.offset, next) of a partition's log, with its delivery state.
//
//	open ──seal──► sealed ──record──► recorded ──deliver──► delivered ──► finished
//	                  └────────── holds no events ─────────────┘
//
// An open batch belongs to the partition's intake and still grows. A sealed batch is in the window,
// and its range never changes again. A sealed batch must not be sent until a commit has stored its
// cut. A recorded batch may be sent, because the partition's next owner would form the same batch.
// A delivered batch is finished once its dead letters are written. The watermark passes only
// finished batches.
//
// When the partition is released, unfinished batches are left for the next owner.
type batch struct {
	first      position
	opened     time.Time // when intake opened the range
	recordTime time.Time // timestamp of the range's first record with events or rejected calls

	// names counts the events by name; nil if events are not counted by name. Intake sets names
	// before it seals the batch. The delivery of the batch then owns names.
	names batchNames

	// seal sets the fields below.
	next  int64       // end of the range
	body  *sink.Batch // nil if the range has no events or the batch is delivered
	bytes int         // size of body and names in the memory budget

	// The window's mutex guards the fields below.
	state   batchState
	letters int // number of dead letters not yet acknowledged by the broker
}

type batchState uint8

const (
	stateOpen batchState = iota
	stateSealed
	stateRecorded
	stateDelivered
)

// seal ends the range at the given offset. A nil body means that the range has no events.
func (b *batch) seal(next int64, body *sink.Batch) {
	b.next, b.body, b.state = next, body, stateSealed
	if body == nil {
		b.state = stateDelivered
		return
	}
	b.bytes = body.Bytes() + b.names.bytes()
}

// markRecorded marks the batch as recorded, because a commit has stored its cut. It reports whether
// to send the batch now.
func (b *batch) markRecorded() bool {
	if b.state != stateSealed {
		return false
	}
	b.state = stateRecorded
	return true
}

// markDelivered marks the batch as delivered, because every event was accepted or dead-lettered. It
// drops the body, since the batch may wait in the window for older batches, and returns the number
// of bytes freed.
func (b *batch) markDelivered() (freed int) {
	b.state, b.body = stateDelivered, nil
	freed, b.bytes = b.bytes, 0
	return freed
}

// finished reports whether the watermark may pass the batch.
func (b *batch) finished() bool { return b.state == stateDelivered && b.letters == 0 }

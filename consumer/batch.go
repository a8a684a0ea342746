package consumer

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// position is a position in a partition's log.
type position struct {
	offset int64 // of the next record
	epoch  int32 // leader epoch of the record before offset; -1 if unknown
}

// batch is the range [first.offset, next) of a partition's log and its delivery state.
//
//	open ──seal──► sealed ──record──► recorded ──deliver──► delivered ──► finished
//	                  └────────── holds no events ─────────────┘
//
// An open batch belongs to the partition's intake and grows. A sealed batch is in the window and
// its range never changes again. It must not be sent yet, because no commit has stored its cut. A
// recorded batch may be sent, because the next owner of the partition will form the same batch. A
// delivered batch is finished once its dead letters are written too, and the watermark then passes
// it.
//
// A batch that is unfinished when the partition is released is left to the next owner.
type batch struct {
	first  position
	opened time.Time // arrival of its first event

	// The fields below are set by seal.
	next  int64       // end of the range
	body  *sink.Batch // nil if the range has no events or was delivered
	bytes int         // memory budget used by body

	// The window's mutex guards the fields below.
	state   batchState
	letters int // dead letters not yet acknowledged by the broker
}

type batchState uint8

const (
	stateOpen batchState = iota
	stateSealed
	stateRecorded
	stateDelivered
)

// seal closes the range at next. A nil body means that the range has no events.
func (b *batch) seal(next int64, body *sink.Batch) {
	b.next, b.body, b.state = next, body, stateSealed
	if body == nil {
		b.state = stateDelivered
		return
	}
	b.bytes = body.Bytes()
}

// markRecorded records that a commit has stored the batch's cut, and reports whether to send the
// batch now.
func (b *batch) markRecorded() bool {
	if b.state != stateSealed {
		return false
	}
	b.state = stateRecorded
	return true
}

// markDelivered records that every event was accepted or dead-lettered, and returns the freed
// bytes. It drops the body, since the batch may have to wait in the window for an older one.
func (b *batch) markDelivered() (freed int) {
	b.state, b.body = stateDelivered, nil
	freed, b.bytes = b.bytes, 0
	return freed
}

// finished reports whether the watermark may pass the batch.
func (b *batch) finished() bool { return b.state == stateDelivered && b.letters == 0 }

package sink

import (
	"bytes"
	"math/bits"
	"slices"
	"time"
)

const (
	smallestBody = 8 << 10 // initial capacity of a buffer
	headroom     = 4 << 10 // free space provided by Bytes; more than most records need
	largestBody  = 4 << 20 // maximum capacity of a body kept for reuse
)

// bodies keeps uncompressed bodies for reuse. A buffer starts with a small body and replaces it
// with one of twice the capacity as needed. Memory use therefore follows the buffered content, not
// the number of partitions or earlier peaks.
var bodies SlicePool[byte]

// Buffer collects the events of one partition until they are sealed. It is not safe for concurrent
// use. Use [NewBuffer] to create one.
//
// Callers render events in place:
//
//	body := render(buffer.Bytes(), record) // appends events, each followed by a comma
//	full := buffer.Append(body, events, record.Offset, record.Timestamp, seal)
type Buffer struct {
	maxEvents, maxBytes int

	body    []byte    // '[', then events, each followed by a comma
	offsets []int64   // record offset of each event
	oldest  time.Time // earliest timestamp among the events' records
}

// NewBuffer returns a buffer whose [Buffer.Append] method limits a batch to maxEvents events and
// maxBytes bytes. Such a batch exceeds a limit only if the events of a single record exceed it.
// [Buffer.Extend] ignores the limits.
func NewBuffer(maxEvents, maxBytes int) *Buffer {
	return &Buffer{maxEvents: maxEvents, maxBytes: maxBytes}
}

// Bytes returns the slice to append the next events to. The slice is valid until the next call to
// Bytes, Append, Extend, Seal, or Reset.
func (b *Buffer) Bytes() []byte {
	if cap(b.body)-len(b.body) < headroom {
		b.grow()
	}
	return b.body
}

// grow moves the body to a slice whose capacity is at least the next power of two.
func (b *Buffer) grow() {
	capacity := max(smallestBody, 1<<bits.Len(uint(cap(b.body))))
	body := bodies.Get(capacity)
	if len(b.body) == 0 {
		body = append(body, '[')
	}
	body = append(body, b.body...)
	b.release()
	b.body = body
}

// release returns the body to the pool if its capacity is suitable.
func (b *Buffer) release() {
	if c := cap(b.body); c >= smallestBody && c <= largestBody {
		bodies.Put(b.body)
	}
}

// Len returns the number of buffered bytes. The caller accounts for them in a [Budget].
func (b *Buffer) Len() int { return len(b.body) }

// Events returns the number of buffered events.
func (b *Buffer) Events() int { return len(b.offsets) }

// Fits reports whether the buffer can grow to length bytes and hold the given number of additional
// events. Seal turns the last comma into the closing bracket, so length is also the final body's
// length.
func (b *Buffer) Fits(length, events int) bool {
	return len(b.offsets)+events <= b.maxEvents && length <= b.maxBytes
}

// Append is like [Buffer.Extend], but enforces the buffer's limits. If the record's events do not
// fit, Append first calls seal, which must seal the buffered events with [Buffer.Seal] and return
// the batch. Append then returns that batch. Otherwise, Append returns nil.
func (b *Buffer) Append(body []byte, events int, offset int64, timestamp time.Time, seal func() *Batch) (full *Batch) {
	if events > 0 && len(b.offsets) > 0 && !b.Fits(len(body), events) {
		tail := bytes.Clone(body[len(b.body):])
		full = seal()
		body = append(b.Bytes(), tail...)
	}
	b.Extend(body, events, offset, timestamp)
	return full
}

// Full reports whether the buffer has reached one of its limits.
func (b *Buffer) Full() bool { return len(b.offsets) >= b.maxEvents || len(b.body) >= b.maxBytes }

// Extend sets the content to body, which must be the result of [Buffer.Bytes] followed by the
// events of one record. offset and timestamp belong to that record. Extend retains body.
func (b *Buffer) Extend(body []byte, events int, offset int64, timestamp time.Time) {
	b.body = body
	if events == 0 {
		return
	}
	for range events {
		b.offsets = append(b.offsets, offset)
	}
	if b.oldest.IsZero() || timestamp.Before(b.oldest) {
		b.oldest = timestamp
	}
}

// Seal empties the buffer and returns its events as a batch for the offset range [first, next). If
// compress is true, the body is compressed. Seal returns nil if the buffer contains no events.
func (b *Buffer) Seal(source Source, leaderEpoch int32, first, next int64, compress bool) *Batch {
	if len(b.offsets) == 0 {
		b.Reset()
		return nil
	}
	raw := b.body
	raw[len(raw)-1] = ']'
	if !compress {
		raw = bytes.Clone(raw)
	}
	batch := &Batch{
		Source: source, LeaderEpoch: leaderEpoch, First: first, Next: next,
		Events: len(b.offsets), Oldest: b.oldest,
		offsets: slices.Clone(b.offsets),
		whole:   newPart(0, len(b.offsets), raw, compress),
	}
	b.Reset()
	return batch
}

// Reset empties the buffer.
func (b *Buffer) Reset() {
	b.release()
	*b = Buffer{maxEvents: b.maxEvents, maxBytes: b.maxBytes, offsets: b.offsets[:0]}
}

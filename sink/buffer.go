package sink

import (
	"bytes"
	"math/bits"
	"slices"
	"time"
)

const (
	smallestBody = 8 << 10 // initial capacity of a buffer
	headroom     = 4 << 10 // free space below which a buffer grows; more than most records need
	largestBody  = 4 << 20 // larger bodies are not kept for reuse
)

// bodies holds raw bodies for reuse. A buffer starts with a small one and replaces it with one of
// twice the size when it is full. The memory that a partition holds therefore follows its use,
// regardless of the number of partitions and of what they held before.
var bodies SlicePool[byte]

// Buffer collects the events of one partition until they are sealed. It is not safe for concurrent
// use. The zero Buffer is not usable; see [NewBuffer].
//
// Events are rendered in place:
//
//	body := render(buffer.Bytes(), record) // appends events, each followed by a comma
//	full := buffer.Append(body, events, record.Offset, record.Timestamp, seal)
type Buffer struct {
	maxEvents, maxBytes int

	body    []byte    // '[', then events, each followed by a comma
	offsets []int64   // by event
	oldest  time.Time // oldest timestamp of the events
}

// NewBuffer returns a buffer whose batches hold at most maxEvents events and maxBytes bytes. A
// batch exceeds these limits only if it contains a single record that does.
func NewBuffer(maxEvents, maxBytes int) *Buffer {
	return &Buffer{maxEvents: maxEvents, maxBytes: maxBytes}
}

// Bytes returns the slice to append the next events to. It is valid until the next call of Extend,
// Seal, or Reset.
func (b *Buffer) Bytes() []byte {
	if cap(b.body)-len(b.body) < headroom {
		b.grow()
	}
	return b.body
}

// grow moves the body to a slice with the next larger power of two as capacity.
func (b *Buffer) grow() {
	capacity := max(smallestBody, 1<<bits.Len(uint(cap(b.body))))
	body := bodies.Get(capacity)
	if body == nil {
		body = make([]byte, 0, capacity)
	}
	if len(b.body) == 0 {
		body = append(body, '[')
	}
	body = append(body, b.body...)
	b.release()
	b.body = body
}

// release keeps the body for reuse.
func (b *Buffer) release() {
	if c := cap(b.body); c >= smallestBody && c <= largestBody {
		bodies.Put(b.body)
	}
}

// Len returns the number of bytes held, which is what the buffer occupies in a [Budget].
func (b *Buffer) Len() int { return len(b.body) }

// Events returns the number of events held.
func (b *Buffer) Events() int { return len(b.offsets) }

// Fits reports whether the buffer may grow to length bytes with the given number of additional
// events. The last comma becomes the closing bracket, so length is exactly the length of the body.
func (b *Buffer) Fits(length, events int) bool {
	return len(b.offsets)+events <= b.maxEvents && length <= b.maxBytes
}

// Append is like [Buffer.Extend], but observes the buffer's limits. If the record's events do not
// fit, it first calls seal, which must call [Buffer.Seal] on the events already held and return the
// result. Append then returns that batch.
func (b *Buffer) Append(body []byte, events int, offset int64, timestamp time.Time, seal func() *Batch) (full *Batch) {
	if events > 0 && len(b.offsets) > 0 && !b.Fits(len(body), events) {
		tail := bytes.Clone(body[len(b.body):])
		full = seal()
		body = append(b.Bytes(), tail...)
	}
	b.Extend(body, events, offset, timestamp)
	return full
}

// Full reports whether no further event fits.
func (b *Buffer) Full() bool { return len(b.offsets) >= b.maxEvents || len(b.body) >= b.maxBytes }

// Extend replaces the content with body, which must be the result of [Buffer.Bytes] with the events
// of one record appended. offset and timestamp are those of the record. Extend retains body.
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

// Seal returns the buffered events as a batch of the given range, optionally compressed, and
// empties the buffer. It returns nil if the buffer holds no event.
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

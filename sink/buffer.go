package sink

import (
	"bytes"
	"math/bits"
	"slices"
	"time"
)

const (
	smallestBody = 8 << 10 // capacity that a buffer starts with
	headroom     = 4 << 10 // free room below which a buffer grows: more than most records need
	largestBody  = 4 << 20 // capacity beyond which a body is not kept for reuse
)

// bodies are raw bodies for reuse. A buffer starts with a small one and replaces it with one of
// twice the size when it is full. The memory that a partition holds therefore follows its use,
// regardless of the number of partitions and of what they held before.
var bodies SlicePool[byte]

// Buffer collects the events of one partition until they are sealed. It belongs
// to one goroutine. The zero Buffer is not usable; see [NewBuffer].
//
// Events are rendered in place:
//
//	body := render(buffer.Bytes(), record) // appends events, each followed by a comma
//	full := buffer.Append(body, events, record.Offset, record.Timestamp, seal)
type Buffer struct {
	maxEvents, maxBytes int

	body    []byte    // '[', then events, each followed by a comma
	offsets []int64   // per event
	oldest  time.Time // of their timestamps
}

// NewBuffer returns a buffer whose batches hold at most maxEvents events and
// maxBytes bytes. Only a single record that brings more by itself exceeds them.
func NewBuffer(maxEvents, maxBytes int) *Buffer {
	return &Buffer{maxEvents: maxEvents, maxBytes: maxBytes}
}

// Bytes returns what the next events are to be appended to. The result is the
// buffer's again with the next Extend, Seal or Reset.
func (b *Buffer) Bytes() []byte {
	if cap(b.body)-len(b.body) < headroom {
		b.grow()
	}
	return b.body
}

// grow gives the body more room, the next power of two.
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

// Len returns the bytes held, which is what the buffer takes of a [Budget].
func (b *Buffer) Len() int { return len(b.body) }

// Events returns the events held.
func (b *Buffer) Events() int { return len(b.offsets) }

// Fits says whether the buffer may grow to length bytes by so many events more.
// The last comma becomes the closing bracket, so length is the body's exactly.
func (b *Buffer) Fits(length, events int) bool {
	return len(b.offsets)+events <= b.maxEvents && length <= b.maxBytes
}

// Append is [Buffer.Extend] within the buffer's limits. If the record's events do not fit next to
// those before them, it calls seal, which returns [Buffer.Seal] for the latter, and returns that
// batch.
func (b *Buffer) Append(body []byte, events int, offset int64, timestamp time.Time, seal func() *Batch) (full *Batch) {
	if events > 0 && len(b.offsets) > 0 && !b.Fits(len(body), events) {
		tail := bytes.Clone(body[len(b.body):])
		full = seal()
		body = append(b.Bytes(), tail...)
	}
	b.Extend(body, events, offset, timestamp)
	return full
}

// Full says whether no further event fits.
func (b *Buffer) Full() bool { return len(b.offsets) >= b.maxEvents || len(b.body) >= b.maxBytes }

// Extend takes over body, which is [Buffer.Bytes] plus the events of the record
// at offset. timestamp is the record's.
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

// Seal closes the buffer for ever as a batch of the given range, compressed or
// not, and leaves the buffer empty. It returns nil if the buffer holds no event.
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

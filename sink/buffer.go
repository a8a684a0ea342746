package sink

import (
	"bytes"
	"math/bits"
	"slices"
	"time"
)

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
	body := takeBody(max(smallestBody, 1<<bits.Len(uint(cap(b.body)))))
	if len(b.body) == 0 {
		body = append(body, '[')
	}
	body = append(body, b.body...)
	giveBody(b.body)
	b.body = body
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

// Append is [Buffer.Extend] within the buffer's limits. If the record's events do not fit next to those
// before them, it calls seal, which returns [Buffer.Seal] for the latter, and returns that batch.
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
	giveBody(b.body)
	*b = Buffer{maxEvents: b.maxEvents, maxBytes: b.maxBytes, offsets: b.offsets[:0]}
}

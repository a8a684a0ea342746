package sink

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Source identifies the partition that a batch comes from and the consumer group that reads it.
// Payload IDs depend on every field.
type Source struct {
	Group     string // consumer group; a new group replays events under new payload IDs
	Topic     string
	TopicID   [16]byte // zero if the brokers do not support topic IDs
	Partition int32
}

// Batch is a contiguous range of one partition's log, [First, Next), rendered as one request body.
// A sealed batch never changes.
type Batch struct {
	Source      Source
	LeaderEpoch int32     // leader epoch of the first record with events; -1 if unknown
	First, Next int64     // offset range [First, Next)
	Events      int       // at least 1
	Oldest      time.Time // earliest timestamp among the records with events

	offsets []int64 // record offset of each event
	whole   part    // all events as one request; body is nil after a split
}

// Offset returns the record offset of the event with the given index.
func (b *Batch) Offset(event int) int64 { return b.offsets[event] }

// EventInRecord returns the index of an event within its record, starting at 0.
func (b *Batch) EventInRecord(event int) int {
	n := 0
	for event-n > 0 && b.offsets[event-n-1] == b.offsets[event] {
		n++
	}
	return n
}

// Bytes returns the number of bytes that the batch occupies in a [Budget]. It must be called before
// [Client.Deliver].
func (b *Batch) Bytes() int { return len(b.whole.body) + 8*len(b.offsets) }

// part is a range of a batch's events sent as one request. A part is either the whole batch or half
// of a part that LaunchDarkly rejected.
type part struct {
	low, high  int    // range [low, high) of event indexes in the batch
	body       []byte // request body as sent
	compressed bool   // whether body is compressed
	size       int    // length of the uncompressed body
	sum        uint64 // XXH64 of the uncompressed body
}

// newPart returns a part whose uncompressed body is raw. It retains raw unless compress is true.
func newPart(low, high int, raw []byte, compress bool) part {
	p := part{low: low, high: high, body: raw, size: len(raw), sum: xxhash.Sum64(raw), compressed: compress}
	if compress {
		p.body = deflate(raw)
	}
	return p
}

// events returns the number of events in the part.
func (p *part) events() int { return p.high - p.low }

// raw returns the uncompressed body. The caller must not modify the result.
func (p *part) raw() []byte {
	if !p.compressed {
		return p.body
	}
	return inflate(p.body, p.size)
}

// split divides a part in half by event index, so the same part always has the same halves. The
// part must contain more than one event.
func (p *part) split() (left, right part) {
	raw := p.raw()
	middle := (p.low + p.high) / 2
	comma := eventEnd(raw, middle-p.low) // index of the comma between the halves
	l := bytes.Clone(raw[:comma+1])
	l[comma] = ']'
	r := bytes.Clone(raw[comma:])
	r[0] = '['
	return newPart(p.low, middle, l, p.compressed), newPart(middle, p.high, r, p.compressed)
}

// Part identifies a request body that may be sent for a batch: the whole batch or a part created by
// splitting it.
type Part struct {
	Low, High int    // range [Low, High) of event indexes in the batch
	ID        string // payload ID
	Sum       uint64 // XXH64 of the uncompressed body
}

// Parts returns every part that may be sent to the destination, in this order: the whole batch, the
// parts of its left half, and the parts of its right half. It must be called before
// [Client.Deliver].
func (b *Batch) Parts(destination string) []Part { return b.parts(nil, b.whole, destination) }

func (b *Batch) parts(all []Part, p part, destination string) []Part {
	all = append(all, Part{p.low, p.high, b.payloadID(&p, destination), p.sum})
	if p.events() == 1 {
		return all
	}
	left, right := p.split()
	return b.parts(b.parts(all, left, destination), right, destination)
}

// eventEnd returns the index just past the first n events in a JSON array of objects. n must be at
// least 1.
func eventEnd(array []byte, n int) int {
	depth, quoted := 0, false
	for i := 0; i < len(array); i++ {
		switch c := array[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
			if depth == 1 {
				if n--; n == 0 {
					return i + 1
				}
			}
		}
	}
	panic("sink: body has fewer events than counted")
}

// namespace is the UUIDv5 namespace of payload IDs. The namespace must never change, because a
// change would alter every payload ID.
var namespace = uuid.MustParse("7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")

// payloadID returns the payload ID for sending p to the destination. Every field has a fixed length
// or a length prefix, so different inputs never have the same encoding. The body hash does not have
// to be cryptographic. The hash only distinguishes bodies for the same range, which differ only if
// the mapping changed between two attempts.
func (b *Batch) payloadID(p *part, destination string) string {
	name := make([]byte, 0, 256)
	text := func(s string) {
		name = binary.AppendUvarint(name, uint64(len(s)))
		name = append(name, s...)
	}
	text(b.Source.Group)
	text(b.Source.Topic)
	name = append(name, b.Source.TopicID[:]...)
	name = binary.BigEndian.AppendUint32(name, uint32(b.Source.Partition))
	name = binary.BigEndian.AppendUint32(name, uint32(b.LeaderEpoch))
	name = binary.BigEndian.AppendUint64(name, uint64(b.First))
	name = binary.BigEndian.AppendUint64(name, uint64(b.Next))
	text(destination)
	name = binary.BigEndian.AppendUint64(name, uint64(p.low))
	name = binary.BigEndian.AppendUint64(name, uint64(p.high))
	name = binary.BigEndian.AppendUint64(name, p.sum)
	return uuid.NewSHA1(namespace, name).String()
}

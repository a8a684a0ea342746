package sink

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Source identifies the partition that a batch comes from. It is part of the payload IDs.
type Source struct {
	Group     string   // consumer group; a new group is a deliberate replay, with new IDs
	Topic     string   // topic name
	TopicID   [16]byte // topic ID; zero if the brokers do not support it
	Partition int32    // partition number
}

// Batch is a contiguous range of one partition's log, [First, Next), rendered as one request body.
// It never changes after it is sealed.
type Batch struct {
	Source      Source
	LeaderEpoch int32     // leader epoch of the first record; -1 if unknown
	First, Next int64     // first offset covered, and the one after the last
	Events      int       // number of events in the body, at least 1
	Oldest      time.Time // oldest timestamp of the records with events

	offsets []int64 // by event: the offset of its record
	whole   part    // its body is nil after a split
}

// Offset returns the offset of the record that contained an event.
func (b *Batch) Offset(event int) int64 { return b.offsets[event] }

// EventInRecord returns the index of an event among the events of its record, starting at 0.
func (b *Batch) EventInRecord(event int) int {
	n := 0
	for event-n > 0 && b.offsets[event-n-1] == b.offsets[event] {
		n++
	}
	return n
}

// Bytes returns the bytes that the batch occupies in a [Budget]. It must be called before the batch
// is delivered.
func (b *Batch) Bytes() int { return len(b.whole.body) + 8*len(b.offsets) }

// part is a range of a batch's events that is sent as one request: all of them, or one half of a
// part that LaunchDarkly rejected.
type part struct {
	low, high  int    // events [low, high) of the batch
	body       []byte // as sent
	compressed bool   // body is compressed
	size       int    // length of the uncompressed body
	sum        uint64 // XXH64 of the uncompressed body
}

// newPart returns a part with the given body. It retains raw unless it compresses it.
func newPart(low, high int, raw []byte, compress bool) part {
	p := part{low: low, high: high, body: raw, size: len(raw), sum: xxhash.Sum64(raw), compressed: compress}
	if compress {
		p.body = deflate(raw)
	}
	return p
}

// events returns the number of events.
func (p *part) events() int { return p.high - p.low }

// raw returns the uncompressed body. The caller must not modify it.
func (p *part) raw() []byte {
	if !p.compressed {
		return p.body
	}
	return inflate(p.body, p.size)
}

// split divides a part in half by event index, so that the same part always has the same halves.
// The part must have more than one event.
func (p *part) split() (left, right part) {
	raw := p.raw()
	middle := (p.low + p.high) / 2
	comma := eventEnd(raw, middle-p.low) // between the halves
	l := bytes.Clone(raw[:comma+1])
	l[comma] = ']'
	r := bytes.Clone(raw[comma:])
	r[0] = '['
	return newPart(p.low, middle, l, p.compressed), newPart(middle, p.high, r, p.compressed)
}

// Part identifies one possible request body of a batch: the whole batch, or a part that results
// from splitting it.
type Part struct {
	Low, High int    // events [Low, High) of the batch
	ID        string // payload ID
	Sum       uint64 // XXH64 of the uncompressed body
}

// Parts returns all parts in which the batch may be sent to destination: the whole batch, then the
// parts of its left half, then the parts of its right half. It must not be called after the batch
// is delivered.
func (b *Batch) Parts(destination string) []Part { return b.parts(nil, b.whole, destination) }

func (b *Batch) parts(all []Part, p part, destination string) []Part {
	all = append(all, Part{p.low, p.high, b.payloadID(&p, destination), p.sum})
	if p.events() == 1 {
		return all
	}
	left, right := p.split()
	return b.parts(b.parts(all, left, destination), right, destination)
}

// eventEnd returns the index after the n-th event of a JSON array of objects. The first event is
// number 1.
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

// namespace is the UUIDv5 namespace of payload IDs. It must never change, so that the IDs stay the
// same across upgrades.
var namespace = uuid.MustParse("7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")

// payloadID returns the payload ID of a part of the batch sent to destination. Every field has a
// fixed length or is preceded by its length, so that different inputs never encode to the same
// bytes. The hash of the body need not be cryptographic: it only distinguishes bodies of the same
// range, which differ only if the mapping was changed between two attempts.
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

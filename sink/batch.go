package sink

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Source is what the payload IDs of one partition's batches have in common.
type Source struct {
	Group     string   // consumer group: a new group is a deliberate replay, with new IDs
	Topic     string   // topic
	TopicID   [16]byte // incarnation of the topic; zero where brokers have none
	Partition int32    // partition
}

// Batch is a contiguous range of one partition's log, [First, Next), rendered as
// one request body. Once sealed it never changes.
type Batch struct {
	Source      Source
	LeaderEpoch int32     // of the first record; -1 if unknown
	First, Next int64     // offsets: the first one covered, and the first one not covered
	Events      int       // in the body, at least 1
	Oldest      time.Time // timestamp among the records that they came from

	offsets []int64 // per event, the offset of its record
	whole   part    // without its body once it is delivered in parts
}

// Offset returns the offset of the record that an event came from.
func (b *Batch) Offset(event int) int64 { return b.offsets[event] }

// EventInRecord says which of its record's events an event is, from 0 on.
func (b *Batch) EventInRecord(event int) int {
	n := 0
	for event-n > 0 && b.offsets[event-n-1] == b.offsets[event] {
		n++
	}
	return n
}

// Bytes returns what the batch takes of a [Budget]. To be called before it is
// delivered.
func (b *Batch) Bytes() int { return len(b.whole.body) + 8*len(b.offsets) }

// part is a range of a batch's events as it is posted: all of them, or one half
// of a part that LaunchDarkly refused.
type part struct {
	low, high  int    // events [low, high) of the batch
	body       []byte // as sent: compressed if compressed is set
	compressed bool   //
	size       int    // bytes of the body before compression
	sum        uint64 // XXH64 of the body before compression
}

// newPart renders a part. It keeps raw unless it compresses.
func newPart(low, high int, raw []byte, compress bool) part {
	p := part{low: low, high: high, body: raw, size: len(raw), sum: xxhash.Sum64(raw), compressed: compress}
	if compress {
		p.body = deflate(raw)
	}
	return p
}

// events returns the number of events.
func (p *part) events() int { return p.high - p.low }

// raw returns the body before compression. It is not to be changed.
func (p *part) raw() []byte {
	if !p.compressed {
		return p.body
	}
	return inflate(p.body, p.size)
}

// split halves a part by event index, so that the same part always splits in the
// same way. The part must hold more than one event.
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

// Part identifies one request body of a batch: the whole, or a part that halving makes of it.
type Part struct {
	Low, High int    // events [Low, High) of the batch
	ID        string // payload ID
	Sum       uint64 // XXH64 of the body before compression
}

// Parts returns the parts under which the batch may be sent to destination: the whole, then all parts
// of its left half, then all of its right half. It must not be called once the batch is delivered.
func (b *Batch) Parts(destination string) []Part { return b.parts(nil, b.whole, destination) }

func (b *Batch) parts(all []Part, p part, destination string) []Part {
	all = append(all, Part{p.low, p.high, b.payloadID(&p, destination), p.sum})
	if p.events() == 1 {
		return all
	}
	left, right := p.split()
	return b.parts(b.parts(all, left, destination), right, destination)
}

// eventEnd returns the index just past the n-th event (from 1 on) of a JSON array
// of objects.
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
	panic("sink: a body holds fewer events than were counted")
}

// namespace is the UUIDv5 namespace of our payload IDs. It must never change:
// a replay over an upgrade forms the same IDs.
var namespace = uuid.MustParse("7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")

// payloadID returns the ID under which a part of the batch is posted to destination.
// Every field is of fixed length or preceded by its length, so that no two
// different inputs read the same. The body's hash need not withstand malice: only
// bodies of one and the same range are ever told apart by it, and there is a second
// one only where the mapping was changed between two attempts.
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

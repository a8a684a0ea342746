package sink

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// record is an input of the property tests.
type record struct {
	offset    int64
	timestamp time.Time
	events    []string
}

// records draws the records of a partition's log, with gaps in the offsets, and with records that
// have no events, many events, or long ones.
var records = rapid.Custom(func(t *rapid.T) (log []record) {
	offset := int64(0)
	for i := range rapid.IntRange(1, 60).Draw(t, "records") {
		offset += int64(rapid.IntRange(1, 3).Draw(t, "gap"))
		r := record{offset: offset, timestamp: time.UnixMilli(rapid.Int64Range(1, 1e12).Draw(t, "timestamp"))}
		for j := range rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 9}).Draw(t, "events") {
			length := rapid.SampledFrom([]int{0, 1, 10, 100, 2000}).Draw(t, "length")
			r.events = append(r.events, fmt.Sprintf(`{"n":"%d.%d","s":"%s"}`, i, j, strings.Repeat("]", length)))
		}
		log = append(log, r)
	}
	return log
})

// fill renders the log into batches, as shown in the documentation of [Buffer]. It calls seal for
// each batch.
func fill(buffer *Buffer, log []record, seal func(next int64) *Batch) (batches []*Batch) {
	cut := func(next int64) {
		if batch := seal(next); batch != nil {
			batches = append(batches, batch)
		}
	}
	for _, r := range log {
		before := buffer.Bytes()
		body := before
		for _, e := range r.events {
			body = append(append(body, e...), ',')
		}
		if len(r.events) > 0 && buffer.Events() > 0 && !buffer.Fits(len(body), len(r.events)) {
			tail := bytes.Clone(body[len(before):])
			cut(r.offset)
			body = append(buffer.Bytes(), tail...)
		}
		buffer.Extend(body, len(r.events), r.offset, r.timestamp)
		if buffer.Full() {
			cut(r.offset + 1)
		}
	}
	cut(log[len(log)-1].offset + 1)
	return batches
}

// model packs records into batches in the simplest way. A record is added to the current batch if
// the batch then stays within both limits.
func model(log []record, maxEvents, maxBytes int) (batches [][]record) {
	var open []record
	size := func(records []record) (events, length int) {
		var all []string
		for _, r := range records {
			all = append(all, r.events...)
		}
		return len(all), len("[" + strings.Join(all, ",") + "]")
	}
	for _, r := range log {
		if len(r.events) == 0 {
			continue
		}
		if events, length := size(append(slices.Clone(open), r)); len(open) > 0 && (events > maxEvents || length > maxBytes) {
			batches = append(batches, open)
			open = nil
		}
		open = append(open, r)
	}
	if len(open) > 0 {
		batches = append(batches, open)
	}
	return batches
}

func TestBufferPacksLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := records.Draw(t, "log")
		maxEvents := rapid.IntRange(1, 20).Draw(t, "max events")
		maxBytes := rapid.SampledFrom([]int{10, 100, 300, 1000, 3000, 10000}).Draw(t, "max bytes")
		compress := rapid.Bool().Draw(t, "compress")
		buffer := NewBuffer(maxEvents, maxBytes)
		first := int64(0)
		batches := fill(buffer, log, func(next int64) *Batch {
			batch := buffer.Seal(Source{Topic: "t"}, 3, first, next, compress)
			if batch != nil && (batch.First != first || batch.Next != next || batch.LeaderEpoch != 3 ||
				batch.Source.Topic != "t") {
				t.Fatalf("sealed %+v, want [%d, %d)", batch, first, next)
			}
			first = next
			if buffer.Len() != 0 || buffer.Events() != 0 {
				t.Fatalf("%d events, %d bytes left after sealing", buffer.Events(), buffer.Len())
			}
			return batch
		})
		want := model(log, maxEvents, maxBytes)
		if len(batches) != len(want) {
			t.Fatalf("%d batches, want %d", len(batches), len(want))
		}
		for i, records := range want {
			checkBatch(t, batches[i], records)
			if b := batches[i]; len(records) > 1 && (b.Events > maxEvents || b.whole.size > maxBytes) {
				t.Fatalf("%d events, %d bytes, limits %d and %d", b.Events, b.whole.size, maxEvents, maxBytes)
			}
		}
	})
}

// checkBatch asserts that a batch contains exactly the events of the records.
func checkBatch(t *rapid.T, b *Batch, records []record) {
	var events []string
	var oldest time.Time
	for _, r := range records {
		for i := range r.events {
			if n := len(events) + i; b.Offset(n) != r.offset || b.EventInRecord(n) != i {
				t.Fatalf("event %d: offset %d, event %d of the record; want %d, %d", n, b.Offset(n), b.EventInRecord(n),
					r.offset, i)
			}
		}
		events = append(events, r.events...)
		if oldest.IsZero() || r.timestamp.Before(oldest) {
			oldest = r.timestamp
		}
	}
	if body := "[" + strings.Join(events, ",") + "]"; string(b.whole.raw()) != body || b.whole.size != len(body) {
		t.Fatalf("body %s, size %d, want %s", b.whole.raw(), b.whole.size, body)
	}
	if b.Events != len(events) || !b.Oldest.Equal(oldest) {
		t.Fatalf("%d events, oldest %v; want %d, %v", b.Events, b.Oldest, len(events), oldest)
	}
	if b.Bytes() != len(b.whole.body)+8*len(events) {
		t.Fatalf("%d bytes, want %d for the body and 8 per event", b.Bytes(), len(b.whole.body))
	}
}

// The test fills several buffers, which share a pool of bodies, in random order.
func TestSealedBatchNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			batch *Batch
			body  string
		}
		var all []kept
		buffers := []*Buffer{NewBuffer(5, 2000), NewBuffer(50, 100_000), NewBuffer(7, 300)}
		for range 4 {
			buffer := rapid.SampledFrom(buffers).Draw(t, "buffer")
			compress := rapid.Bool().Draw(t, "compress")
			for _, b := range fill(buffer, records.Draw(t, "log"), func(next int64) *Batch {
				return buffer.Seal(Source{}, 0, 0, next, compress)
			}) {
				all = append(all, kept{b, string(b.whole.body)})
				if b.Events > 1 { // splitting must not change it either
					b.whole.split()
				}
			}
		}
		for _, k := range all {
			if string(k.batch.whole.body) != k.body {
				t.Fatalf("the body of a sealed batch changed")
			}
		}
	})
}

func TestEmptyBufferSealsToNothing(t *testing.T) {
	buffer := NewBuffer(10, 1000)
	for range 3 {
		buffer.Extend(buffer.Bytes(), 0, 7, time.Now())
		if b := buffer.Seal(Source{}, 0, 0, 8, true); b != nil {
			t.Errorf("sealed %+v without an event", b)
		}
	}
	body := append(buffer.Bytes(), `{},`...)
	buffer.Extend(body, 1, 8, time.Now())
	buffer.Reset()
	if buffer.Events() != 0 || buffer.Len() != 0 || buffer.Seal(Source{}, 0, 0, 9, false) != nil {
		t.Error("buffer not empty after Reset")
	}
}

func TestLimitsAreExact(t *testing.T) {
	buffer := NewBuffer(3, len(`[{"a":1},{"a":2}]`))
	if !buffer.Fits(buffer.maxBytes, 3) || buffer.Fits(buffer.maxBytes+1, 1) || buffer.Fits(1, 4) {
		t.Error("Fits is not exact for an empty buffer")
	}
	body := append(buffer.Bytes(), `{"a":1},`...)
	buffer.Extend(body, 1, 0, time.Now())
	if buffer.Full() || !buffer.Fits(buffer.maxBytes, 2) || buffer.Fits(buffer.maxBytes, 3) {
		t.Error("Fits is not exact with one event")
	}
	body = append(buffer.Bytes(), `{"a":2},`...)
	if buffer.Extend(body, 1, 1, time.Now()); !buffer.Full() {
		t.Error("not full at exactly the limit")
	}
	if b := buffer.Seal(Source{}, 0, 0, 2, false); b.whole.size != buffer.maxBytes {
		t.Errorf("%d bytes sealed, want %d", b.whole.size, buffer.maxBytes)
	}
}

// Buffers share a pool of bodies. A large body must not stay with a buffer that holds little, or a
// thousand idle partitions would hold a thousand large bodies.
func TestBufferHoldsLittleMoreThanItUses(t *testing.T) {
	many := make([]*Buffer, 30)
	for i := range many {
		many[i] = NewBuffer(1<<20, 1<<30)
	}
	add := func(b *Buffer, length int) {
		e := fmt.Appendf(nil, `{"s":"%s"},`, strings.Repeat("x", length))
		b.Extend(append(b.Bytes(), e...), 1, 0, time.Time{})
	}
	for round := range 3 {
		for _, b := range many { // each buffer grows large once
			for range 300 {
				add(b, 1000)
			}
			b.Seal(Source{}, 0, 0, 1, false)
		}
		held := 0
		for _, b := range many { // now all buffers hold little
			add(b, 500)
			held += cap(b.body)
		}
		if held > 2*len(many)*smallestBody {
			t.Fatalf("round %d: %d buffers of 500 bytes each hold %d", round, len(many), held)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := NewBuffer(1<<20, 1<<30)
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			add(b, rapid.SampledFrom([]int{10, 1000, 3000, 9000, 50_000}).Draw(t, "length"))
			if most := 4 * (b.Len() + headroom); cap(b.body) > most {
				t.Fatalf("%d bytes in a body of %d", b.Len(), cap(b.body))
			}
		}
		b.Reset()
	})
}

func TestSplitFindsEventsRegardlessOfTheirContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{`"]}"`, `"\""`, `"\\"`, `"\\\""`, `[]`, `[{}]`, `{"a":{"b":[1,"}"]}}`, `1e5`,
			`null`, `"[{"`, `"\u0022"`, `"é"`})
		n := rapid.IntRange(2, 20).Draw(t, "events")
		var events []string
		for range n {
			events = append(events, fmt.Sprintf(`{%s:%s}`, `"k\"]}"`, value.Draw(t, "value")))
		}
		whole := newPart(10, 10+n, []byte("["+strings.Join(events, ",")+"]"), rapid.Bool().Draw(t, "compress"))
		left, right := whole.split()
		if left.low != 10 || left.high != right.low || right.high != 10+n || left.events() == 0 || right.events() == 0 ||
			left.events()-right.events() > 1 || right.events()-left.events() > 1 {
			t.Fatalf("split [10, %d) into [%d, %d) and [%d, %d)", 10+n, left.low, left.high, right.low, right.high)
		}
		var got []string
		for _, p := range []part{left, right} {
			for e := range ldtest.Events(p.raw()) {
				got = append(got, string(e))
			}
			if p.compressed != whole.compressed || p.size != len(p.raw()) {
				t.Fatalf("half has %d bytes, but size %d", len(p.raw()), p.size)
			}
		}
		if !slices.Equal(got, events) {
			t.Fatalf("halves hold %q, want %q", got, events)
		}
	})
}

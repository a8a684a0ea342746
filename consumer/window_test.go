package consumer

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// emptyWindow returns an empty window that starts at offset 0.
func emptyWindow() *window {
	return newWindow(start{committed: true}, topicID{}, &memory{budget: sink.NewBudget(1 << 20)}, func(bool) {})
}

// sealedBatch returns a sealed batch with one event.
func sealedBatch(first, next int64) *batch {
	buffer := sink.NewBuffer(10, 1000)
	buffer.Extend(append(buffer.Bytes(), `{"a":1},`...), 1, first, time.Now())
	b := &batch{first: position{offset: first}, opened: time.Now()}
	b.seal(next, buffer.Seal(sink.Source{}, 0, first, next, false))
	return b
}

// The watermark never passes an unfinished batch, regardless of the order in which batches finish.
// A commit records exactly the batches in the window.
func TestWatermarkIsTheOldestUnfinishedBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := emptyWindow()
		var all []*batch
		sending := map[*batch]bool{}
		next := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(all) == 0 || rapid.Bool().Draw(t, "push") {
				first := next + rapid.Int64Range(0, 3).Draw(t, "gap")
				next = first + rapid.Int64Range(1, 50).Draw(t, "length")
				b := sealedBatch(first, next)
				b.letters = rapid.IntRange(0, 1).Draw(t, "letters")
				all = append(all, b)
				w.push(b, position{offset: next}, nil)
			} else {
				b := rapid.SampledFrom(all).Draw(t, "batch")
				switch {
				case b.letters > 0 && rapid.Bool().Draw(t, "letter"):
					w.endLetter(b, 0, true)
				case sending[b]:
					w.endSend(b, true)
					delete(sending, b)
				}
			}
			want := next
			for _, b := range all {
				if !b.finished() {
					want = min(want, b.first.offset)
				}
			}
			s, ok := w.snapshot()
			cuts, _, err := parseMetadata(s.offset, s.metadata)
			if err != nil || !ok || s.offset != want || len(s.recorded) != len(w.batches) {
				t.Fatalf("snapshot %+v, %v, want offset %d", s, err, want)
			}
			for _, b := range w.batches {
				if !slices.Contains(cuts, b.next) || b.first.offset != s.offset &&
					!slices.Contains(cuts, b.first.offset) {
					t.Fatalf("batch %d to %d not recorded in %q", b.first.offset, b.next, s.metadata)
				}
			}
			for _, b := range w.applyCommit(s, time.Now()) {
				if sending[b] {
					t.Fatalf("batch %d to %d returned twice for sending", b.first.offset, b.next)
				}
				sending[b] = true
			}
		}
	})
}

func TestFencedWindowSendsNoBatchAndDoesNotAdvance(t *testing.T) {
	w := emptyWindow()
	sent, waiting := sealedBatch(0, 5), sealedBatch(5, 9)
	w.push(sent, position{offset: 5}, nil)
	s, _ := w.snapshot()
	if send := w.applyCommit(s, time.Now()); len(send) != 1 {
		t.Fatalf("%d batches to send", len(send))
	}
	w.push(waiting, position{offset: 9}, nil)
	s, _ = w.snapshot()
	w.fence()
	if send := w.applyCommit(s, time.Now()); len(send) > 0 {
		t.Errorf("%d batches to send after the fence, want 0", len(send))
	}
	w.endSend(sent, true)
	if got := w.status().watermark; got != 0 {
		t.Errorf("watermark %d after the fence", got)
	}
	if _, ok := w.snapshot(); ok {
		t.Error("fenced window returned a snapshot to commit")
	}
}

func TestBodyOfADeliveredBatchIsFreedBehindAStuckBatch(t *testing.T) {
	w := emptyWindow()
	stuck, second := sealedBatch(0, 5), sealedBatch(5, 9)
	w.push(stuck, position{offset: 5}, nil)
	w.push(second, position{offset: 9}, nil)
	s, _ := w.snapshot()
	w.applyCommit(s, time.Now())
	before, size := w.memory.budget.Used(), int64(second.bytes)
	w.endSend(second, true)
	if used := w.memory.budget.Used(); second.body != nil || used != before-size || w.status().watermark != 0 {
		t.Errorf("%d bytes held, want %d; watermark %d", used, before-size, w.status().watermark)
	}
	w.endSend(stuck, true)
	if used := w.memory.budget.Used(); used != 0 || w.status().bytes != 0 || w.status().watermark != 9 {
		t.Errorf("%d bytes held; watermark %d", used, w.status().watermark)
	}
}

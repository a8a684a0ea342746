package consumer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

func TestCutsSurviveTheMetadata(t *testing.T) {
	if got, n := formatCuts(100, []int64{1100, 2100, 2537}); got != "v1 +1000 +1000 +437" || n != 3 {
		t.Errorf("%q, %d", got, n)
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Int64Range(0, 1<<62).Draw(t, "from")
		lengths := rapid.SliceOfN(rapid.Int64Range(1, 1<<50), 0, 2*maxWindow).Draw(t, "lengths")
		var cuts []int64
		at := from
		for _, length := range lengths {
			at += length
			cuts = append(cuts, at)
		}
		metadata, n := formatCuts(from, cuts)
		if n != len(cuts) || len(metadata) > metadataBytes {
			t.Fatalf("%d of %d cuts in %d bytes", n, len(cuts), len(metadata))
		}
		if got, _, err := parseCuts(from, metadata); err != nil || !slices.Equal(got, cuts) {
			t.Fatalf("%v, %v, want %v", got, err, cuts)
		}
	})
}

func TestMetadataStaysBelowTheBrokersLimit(t *testing.T) {
	var cuts []int64
	for i := range int64(1000) {
		cuts = append(cuts, (i+1)<<40)
	}
	metadata, n := formatCuts(0, cuts)
	if len(metadata) > metadataBytes || n == 0 || n == len(cuts) {
		t.Fatalf("%d cuts in %d bytes", n, len(metadata))
	}
	if got, _, err := parseCuts(0, metadata); err != nil || !slices.Equal(got, cuts[:n]) {
		t.Errorf("%d cuts read, %v", len(got), err)
	}
}

func TestMetadataOfOthersIsAnErrorAndNoCut(t *testing.T) {
	for _, metadata := range []string{"consumer-1-7f3a", "v2 +1", "v1 1000", "v1 +0", "v1 +-5", "v1 +x", "v1  +1", "v1 +9223372036854775807", "v1 +1000 +", "AQID"} {
		if cuts, _, err := parseCuts(10, metadata); err == nil || cuts != nil {
			t.Errorf("%q: %v, %v", metadata, cuts, err)
		}
	}
	if cuts, _, err := parseCuts(10, ""); err != nil || cuts != nil {
		t.Errorf("no metadata: %v, %v", cuts, err)
	}
}

// The watermark never passes an unfinished entry, whatever the order in which
// entries finish; a commit records what stands in the window and nothing else.
func TestWatermarkIsTheOldestUnfinishedEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		var all []*entry
		next := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(all) == 0 || rapid.Bool().Draw(t, "push") {
				first := next + rapid.Int64Range(0, 3).Draw(t, "gap")
				next = first + rapid.Int64Range(1, 50).Draw(t, "length")
				e := &entry{first: first, next: next, batch: &sink.Batch{}, letters: rapid.IntRange(0, 1).Draw(t, "letters")}
				all = append(all, e)
				w.push(e)
			} else {
				e := rapid.SampledFrom(all).Draw(t, "finish")
				if rapid.Bool().Draw(t, "letter") {
					e.letters = 0
				} else {
					e.delivered = true
				}
				w.pop()
			}
			want := next
			for _, e := range all {
				if !e.delivered || e.letters > 0 {
					want = min(want, e.first)
				}
			}
			if got := w.watermark(); got != want {
				t.Fatalf("watermark %d, want %d", got, want)
			}
			s := w.snapshot()
			cuts, _, err := parseCuts(s.offset, s.metadata)
			if err != nil || s.offset != want || len(s.recorded) != len(w.entries) {
				t.Fatalf("snapshot %+v, %v", s, err)
			}
			for _, e := range w.entries {
				if !slices.Contains(cuts, e.next) || e.first != s.offset && !slices.Contains(cuts, e.first) {
					t.Fatalf("entry %d to %d is not in %q", e.first, e.next, s.metadata)
				}
			}
		}
	})
}

// After the log was truncated, entries of the old log stand before such of the new
// one, at lower offsets. Those are recorded when the others are gone.
func TestEntriesBehindATruncationWait(t *testing.T) {
	var w window
	before, after := &entry{first: 100, next: 200, batch: &sink.Batch{}}, &entry{first: 150, next: 180, batch: &sink.Batch{}}
	w.push(before)
	w.floor = 150
	w.push(after)
	if s := w.snapshot(); s.metadata != "v1 +100" || len(s.recorded) != 1 {
		t.Errorf("%+v", s)
	}
	before.delivered = true
	w.pop()
	if s := w.snapshot(); s.offset != 150 || s.metadata != "v1 +30" || len(s.recorded) != 1 {
		t.Errorf("%+v", s)
	}
}

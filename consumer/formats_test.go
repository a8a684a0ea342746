package consumer

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// foreign returns a record that is not a Segment call.
func foreign(int) []byte {
	return []byte(`{"time":"2020-06-19","level":"info","msg":"a secret","f":1,"e":2,"d":3,"c":4,"b":5,"a":6}`)
}

func TestTopicOfForeignRecordsIsAProblem(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(nil)
		settle := func() string {
			w.awaitDelivered(time.Minute)
			time.Sleep(time.Minute)
			return strings.Join(m.Status().Problems, "\n")
		}
		w.produce(1000, func(i int) []byte {
			if i%2 == 0 {
				return page(i)
			}
			return foreign(i)
		})
		if problems := settle(); problems != "" {
			t.Errorf("half of the calls are page calls: %s", problems)
		}
		w.produce(10, nil)
		w.produce(999, foreign)
		if problems := settle(); problems != "" {
			t.Errorf("after 999 foreign records: %s", problems)
		}
		w.produce(1, foreign)
		const want = "no events in the last 1,000 calls of topic segment; most are not Segment calls; " +
			"top-level names: a, b, c, d, e, f, level, msg. Set segment.unwrap"
		if problems := settle(); !strings.HasPrefix(problems, want) {
			t.Errorf("after 1,000 foreign records: %s", problems)
		}
		w.produce(1, nil)
		if problems := settle(); problems != "" {
			t.Errorf("after an event: %s", problems)
		}
		m.leave(t)
	})
}

// TestFormatProblemEndsWithTheLastPartition also covers a chunk with an event between other calls.
func TestFormatProblemEndsWithTheLastPartition(t *testing.T) {
	f := newFormats(newHealth(zap.NewNop()))
	f.acquire("t")
	f.acquire("t")
	problems := func() int { return len(f.health.status().Problems) }
	f.add("t", &callCounts{sinceEvent: 2000, notCallsSinceEvent: 1001, notACall: []string{"a"}})
	if problems() != 1 {
		t.Fatal("no problem")
	}
	f.release("t")
	if problems() != 1 {
		t.Error("the problem ended with one of two partitions")
	}
	f.release("t")
	if problems() != 0 || len(f.topics) != 0 {
		t.Error("the problem outlived the last partition")
	}

	f.acquire("t")
	f.add("t", &callCounts{sinceEvent: 999, notCallsSinceEvent: 999, notACall: []string{"a"}})
	f.add("t", &callCounts{anyEvent: true, sinceEvent: 999, notCallsSinceEvent: 999, notACall: []string{"a"}})
	if problems() != 0 {
		t.Error("problem with 999 calls since the last event")
	}
	f.add("t", &callCounts{sinceEvent: 1})
	if problems() != 0 {
		t.Error("problem without a name to show")
	}
	f.add("t", &callCounts{sinceEvent: 1, notCallsSinceEvent: 1, notACall: []string{"a"}})
	if problems() != 1 {
		t.Error("no problem with 1001 calls since the last event")
	}
}

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

func TestTopicOf1000ForeignRecordsIsAProblemWithoutLaterRecords(t *testing.T) {
	for _, partitions := range []int32{1, 3} {
		inWorld(t, partitions, func(w *world) {
			if partitions == 1 { // otherwise, the order of the records is undefined
				w.produce(1, nil)
			}
			w.produce(1000, foreign)
			m := w.join(nil)
			w.awaitDelivered(time.Minute)
			time.Sleep(10 * time.Second)
			if len(m.Status().Problems) != 1 {
				t.Errorf("%d partitions: problems %q", partitions, m.Status().Problems)
			}
			m.leave(t)
		})
	}
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
		settle() // the order of records in different partitions is undefined
		for _, n := range []int{300, 300, 399} {
			w.produce(n, foreign)
			time.Sleep(time.Second)
		}
		if problems := settle(); problems != "" {
			t.Errorf("after 999 foreign records: %s", problems)
		}
		w.produce(1, foreign)
		const want = "no events in the last 1,000 calls of topic segment; most are not Segment calls; " +
			"top-level names: a, b, c, d, e, f, level, msg. Run the preview command, and set segment.unwrap"
		if problems := settle(); !strings.HasPrefix(problems, want) {
			t.Errorf("after 1,000 foreign records: %s", problems)
		}
		w.produce(1, nil)
		if problems := settle(); problems != "" {
			t.Errorf("after an event: %s", problems)
		}
		for range 4 {
			w.produce(500, foreign)
			time.Sleep(time.Second)
		}
		if problems := settle(); !strings.HasPrefix(problems, want) {
			t.Errorf("after 2,000 more foreign records: %s", problems)
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
	foreign := func(calls, notCalls int, sample ...string) bool {
		c := callCounts{sinceEvent: calls, notCallsSinceEvent: notCalls}
		if sample != nil {
			c.samples = [][]string{sample}
		}
		return f.add("t", &c)
	}
	if !foreign(100, 51) || !foreign(1500, 751, "a", "data", "user-1") || problems() != 0 {
		t.Fatal("no first sample requested at the start, or no second sample after 1,600 calls")
	}
	if foreign(1, 1, "a", "data", "user-2") || problems() != 1 {
		t.Fatal("no problem after two samples")
	}
	if text := f.health.status().Problems[0]; !strings.Contains(text, "top-level names: a, data. ") {
		t.Error(text)
	}
	f.release("t")
	if problems() != 1 {
		t.Error("the problem was cleared when one of two partitions was released")
	}
	f.release("t")
	if problems() != 0 || len(f.topics) != 0 {
		t.Error("the problem was not cleared when the last partition was released")
	}

	f.acquire("t")
	foreign(999, 999, "a")
	f.add("t", &callCounts{anyEvent: true, sinceEvent: 999, notCallsSinceEvent: 999})
	foreign(0, 0, "a")
	foreign(0, 0, "b")
	if problems() != 0 {
		t.Error("problem with 999 calls since the last event")
	}
	foreign(1, 1)
	if text := f.health.status().Problems; len(text) != 1 || !strings.Contains(text[0], "(none in common)") {
		t.Errorf("with 1000 calls since the last event: %q", text)
	}
	f.add("t", &callCounts{anyEvent: true})
	foreign(2000, 2000, "a")
	foreign(2000, 2000, "a")
	if problems() != 0 {
		t.Error("reported again within a minute of an event")
	}
}

package consumer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

func TestEventNamesAreCountedWithTheirValues(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		m := w.join(func(c *Config, _ *sink.Config) { c.CountNames = true })
		w.produce(90, func(i int) []byte {
			name := []string{"Signed Up", `\"Quoted\" \u00e9`, "Ordered"}[i%3]
			value := ""
			if i%3 == 2 {
				value = `,"value":5`
			}
			return fmt.Appendf(nil, `{"type":"track","event":"%s","userId":"u","timestamp":"2026-01-02T03:04:05Z",`+
				`"properties":{"n":%d%s}}`, name, i, value)
		})
		time.Sleep(10 * time.Second)
		want := []EventName{{"Ordered", 30, 30}, {"Signed Up", 30, 0}, {`"Quoted" é`, 30, 0}}
		if got := m.EventNames(20); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got := m.EventNames(1); len(got) != 1 {
			t.Errorf("%d names, want 1", len(got))
		}
		m.leave(t)
	})
}

func TestEventNamesUseBoundedMemory(t *testing.T) {
	e := &eventNames{counts: nameCounts{}}
	for i := range 100 * keptNames {
		e.add(nameCounts{"frequent": {events: 1}, fmt.Sprint(i): {events: 1}})
		if len(e.counts) > keptNames {
			t.Fatalf("%d names are kept, want at most %d", len(e.counts), keptNames)
		}
	}
	long := nameCounts{}
	event := transform.EventName([]byte(`{"kind":"custom","key":"` + strings.Repeat("x", 1<<20) + `"}`))
	body := []byte(`{"kind":"custom","key":` + string(event) + `},`)
	for range 2 {
		long.count([]transform.Call{{End: len(body)}}, body, 0, nil)
	}
	if n := long[longName]; len(long) != 1 || n == nil || n.events != 2 {
		t.Error("a name of 1 MiB is kept")
	}
	if got := e.counts["frequent"].events; got != 100*keptNames {
		t.Errorf("%d frequent events, want %d", got, 100*keptNames)
	}
}

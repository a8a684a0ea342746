package consumer

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// deliveries returns a member's deliveries as JSON.
func (m *member) deliveries(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(m.Delivered())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// total returns the number of events in all hours.
func total(hours []DeliveredHour) (n int64) {
	for _, h := range hours {
		n += h.Other
		for events := range maps.Values(h.Events) {
			n += events
		}
	}
	return n
}

func TestAcceptedEventsAreCountedByNameAndHour(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.ld.Poison(ldtest.Containing(`"n":7}`))
		m := w.join(func(c *Config, _ *sink.Config) { c.CountNames, c.MaxAge = true, 10*time.Second })
		long := strings.Repeat("x", maxNameBytes)
		for range 2 {
			// All these events are in one batch, although the names are in different chunks.
			for name, n := range map[string]int{"Ordered": 20, `Signed \"Up\" \u00e9`: 30, long: 3} {
				w.produce(n, func(i int) []byte {
					return fmt.Appendf(nil, `{"type":"track","event":"%s","userId":"u","timestamp":"2026-01-02T03:04:05Z",`+
						`"properties":{"n":%d}}`, name, i)
				})
				time.Sleep(time.Second)
			}
			time.Sleep(time.Hour - 3*time.Second)
		}
		const events = `"events":{"Ordered":19,"Signed \"Up\" é":29},"other":3}`
		want := `[{"hour":"2000-01-01T00:00:00Z",` + events + `,{"hour":"2000-01-01T01:00:00Z",` + events + `]`
		if got := m.deliveries(t); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if counted := int64(w.ld.Report().Processed); counted != total(m.Delivered()) {
			t.Errorf("LaunchDarkly counted %d events, want %d", counted, total(m.Delivered()))
		}
		m.leave(t)
	})
}

// LaunchDarkly accepts the first member's requests, but the responses are lost.
func TestBatchLeftForTheNextOwnerIsCountedThere(t *testing.T) {
	for name, end := range map[string]func(*member){"killed": (*member).kill, "stopped": (*member).abort} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, func(w *world) {
				w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true})
				w.produce(3000, nil)
				count := func(c *Config, _ *sink.Config) { c.CountNames = true }
				a := w.join(count)
				time.Sleep(5 * time.Second)
				end(a)
				w.ld.Up()
				b := w.join(count)
				time.Sleep(time.Minute)
				w.awaitDelivered(5 * time.Minute)
				if name == "killed" {
					a.abort()
				}
				a.end()
				b.finish(t)
				if w.ld.Report().Duplicates == 0 {
					t.Error("test has no effect: LaunchDarkly accepted nothing from the first member")
				}
				if got := total(a.Delivered()); got != 0 {
					t.Errorf("first member: %d events counted, want 0", got)
				}
				if got := b.deliveries(t); got != `[{"hour":"2000-01-01T00:00:00Z","events":{"e":3000},"other":0}]` {
					t.Errorf("next owner: %s", got)
				}
			})
		})
	}
}

// The events of a record that does not fit into the open batch belong to the next one.
func TestBatchesCarryTheCountsOfTheirOwnEvents(t *testing.T) {
	in := idleIntake(t)
	in.names = &eventNames{counts: nameCounts{}}
	call := func(name string) string { return `{"type":"track","event":"` + name + `","userId":"u"}` }
	for offset := range int64(30) {
		value := call("a")
		if offset%2 == 1 {
			value = "[" + strings.Join([]string{call("b"), `{"type":"page"}`, call("a"), call("b")}, ",") + "]"
		}
		in.mapRecord(&kgo.Record{Topic: in.topic, Offset: offset, Value: []byte(value), Timestamp: time.UnixMilli(1)})
		in.counts.flush(in.metrics)
		in.names.add(in.nameCounts)
	}
	if n := len(in.window.batches); n < 5 {
		t.Fatalf("%d batches", n)
	}
	for _, b := range in.window.batches {
		want := map[string]int64{}
		for event := range b.body.Events {
			want["a"]++
			if b.body.Offset(event)%2 == 1 && b.body.EventInRecord(event) != 1 {
				want["a"]--
				want["b"]++
			}
		}
		got := map[string]int64{}
		for _, n := range b.names {
			got[n.name] = n.events
		}
		if !maps.Equal(got, want) {
			t.Errorf("offsets %d to %d: %v, want %v", b.first.offset, b.next-1, got, want)
		}
		if b.bytes <= b.body.Bytes() {
			t.Errorf("%d bytes, want more than the body's %d", b.bytes, b.body.Bytes())
		}
	}
}

// named returns a batch with the given number of events for each of several names. The names are the
// prefix and a number, starting at 0.
func named(prefix string, names int, events int64) *batch {
	b := &batch{}
	for i := range names {
		b.names = append(b.names, batchName{fmt.Sprint(prefix, i), events})
	}
	return b
}

func TestDeliveriesAreKeptForSevenDaysInBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Consumer{cfg: Config{CountNames: true}, delivered: &delivered{}}
		const hours = 8 * 24
		for range hours {
			for _, wait := range []time.Duration{30 * time.Minute, 30*time.Minute - time.Nanosecond, time.Nanosecond} {
				c.delivered.add(named("frequent", frequentNames, 2))
				for i := range 15 {
					c.delivered.add(named(fmt.Sprint("rare", i, "_"), 100, 1))
					if n := len(c.delivered.hours[len(c.delivered.hours)-1].Events); n > keptNames {
						t.Fatalf("%d names are kept, want at most %d", n, keptNames)
					}
				}
				time.Sleep(wait)
			}
		}
		check := func(hours []DeliveredHour, first time.Time, n int) {
			t.Helper()
			if len(hours) != n || !hours[0].Hour.Equal(first) {
				t.Fatalf("%d hours from %v, want %d from %v", len(hours), hours[0].Hour, n, first)
			}
			for _, h := range hours {
				if len(h.Events) != frequentNames || h.Events["frequent99"] != 6 || h.Other != 4500 {
					t.Fatalf("%v: %d names, %d of the last, %d others", h.Hour, len(h.Events), h.Events["frequent99"], h.Other)
				}
			}
		}
		check(c.Delivered(), time.Now().Add(-DeliveredFor), 7*24) // the current hour has no deliveries
		time.Sleep(2 * time.Hour)
		check(c.Delivered(), time.Now().Add(-DeliveredFor), 7*24-2)
		time.Sleep(DeliveredFor)
		if hours := c.Delivered(); len(hours) > 0 {
			t.Errorf("after 7 days without deliveries: %d hours", len(hours))
		}
	})
}

func TestDeliveriesReadEarlierDoNotChange(t *testing.T) {
	c := &Consumer{cfg: Config{CountNames: true}, delivered: &delivered{}}
	c.delivered.add(named("e", 1, 1))
	read := c.Delivered()
	c.delivered.add(named("e", 1, 1))
	if got := read[0].Events["e0"]; got != 1 {
		t.Errorf("%d events, want 1", got)
	}
}

func TestDeliveredNamesHaveSeriesFromTheStart(t *testing.T) {
	r := prometheus.NewRegistry()
	d := newDelivered(&Config{DeliveredNames: []string{"a0", `b "1"`}, Registry: r})
	expect := func(a int) {
		t.Helper()
		want := fmt.Sprintf("# HELP %s Delivered events, by name. Exists only if segment.events lists 1 to 200 names.\n"+
			"# TYPE %[1]s counter\n%[1]s{event=\"a0\"} %d\n%[1]s{event=\"b \\\"1\\\"\"} 0\n", DeliveredMetric, a)
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), DeliveredMetric); err != nil {
			t.Error(err)
		}
	}
	expect(0)
	d.add(named("a", 2, 3))
	expect(3)
	if h := d.hours[0]; len(h.Events) != 1 || h.Events["a0"] != 3 || h.Other != 3 {
		t.Errorf("%+v, want only listed names", h)
	}

	for _, n := range []int{0, MaxDeliveredNames, MaxDeliveredNames + 1} {
		cfg := &Config{Registry: prometheus.NewRegistry()}
		for _, b := range named("a", n, 0).names {
			cfg.DeliveredNames = append(cfg.DeliveredNames, b.name)
		}
		d := newDelivered(cfg)
		d.add(named("a", n, 1))
		series, err := testutil.GatherAndCount(cfg.Registry.(*prometheus.Registry))
		want := n
		if n > MaxDeliveredNames {
			want = 0
		}
		if err != nil || series != want {
			t.Errorf("%d names: %d series, want %d; %v", n, series, want, err)
		}
		if kept := len(d.hours[0].Events); kept != n {
			t.Errorf("%d names: %d counted", n, kept)
		}
	}
}

package app

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
)

func TestBoundedRunEndsWithASummary(t *testing.T) {
	s := newStage(t, 2)
	s.produce(track("a"), track("b"), `{"type":"page"}`, `{"type":"track","event":"e"}`)
	s.options.Until = time.Now().Add(time.Hour)
	s.run()
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
	summary := s.Summary(nil)
	summary.Seconds = 0
	got, err := json.Marshal(summary)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"complete":true,"seconds":0,"records":4,"records_lost":0,"events":2,"filtered":{"not_track":1},` +
		`"rejected":{"no_user_key":1},"events_delivered":2,"events_rejected_by_launchdarkly":0}`
	if string(got) != want {
		t.Errorf("summary %s, want %s", got, want)
	}
}

// At one event per second, the run lasts until the page is read.
func TestBoundedRunShowsItsProgress(t *testing.T) {
	s := newStage(t, 1, "S2LD_DELIVERY_MAX_EVENTS_PER_SECOND=1", "S2LD_BATCH_MAX_EVENTS=10",
		"S2LD_DELIVERY_DRAIN_TIMEOUT=1s")
	s.produce(slices.Repeat([]string{track("a")}, 40)...)
	s.options.Until = time.Now().Add(time.Hour)
	progress := make(chan Progress, 100)
	s.options.Progress = func(p Progress) { progress <- p }
	s.run()
	for p := range progress {
		if p.RateLimited && p.Remaining > 0 && p.Records == 40 {
			break
		}
	}
	page := s.get("/")
	if !strings.Contains(page, "limited by configuration") || !strings.Contains(page, "until the end") ||
		!strings.Contains(page, " expected</small>") {
		t.Error(page)
	}
	s.stop()
	err := <-s.done
	if err == nil {
		t.Error("Run returned no error although it was stopped before the end")
	}
	if s.Summary(err).Complete {
		t.Error("the summary reports a complete run")
	}
}

func TestMeterMeasuresOnlyItsOwnPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		measure := func(watermarks ...int64) Progress {
			time.Sleep(time.Second)
			read := consumer.Status{}
			for number, w := range watermarks {
				read.Partitions = append(read.Partitions,
					consumer.PartitionStatus{Topic: "t", Partition: int32(number), Watermark: w, Until: 10_000})
			}
			return m.measure(read, sink.Status{})
		}
		if p := measure(); p.Remaining != 0 || p.ETA != -1 {
			t.Errorf("without partitions: %+v", p)
		}
		if p := measure(1000, 2000); p.Remaining != 17_000 || p.ETA != -1 {
			t.Errorf("at the start: %+v", p)
		}
		for n := range int64(20) {
			measure(1000+100*n, 2000+100*n)
		}
		p := measure(3000, 4000)
		if p.Passed != 4000 || p.Remaining != 13_000 || p.PerSecond != 200 || p.ETA != 65*time.Second {
			t.Errorf("after 20 s: %+v", p)
		}
		if p := measure(3000); p.Passed != 4000 || p.Remaining != 7000 {
			t.Errorf("after another member took a partition: %+v", p)
		}
		if p := measure(3000, 9000); p.Passed != 4000 {
			t.Errorf("after the partition came back: %+v", p)
		}
		if p := measure(10_000, 11_000); p.Remaining != 0 || p.ETA != 0 {
			t.Errorf("at the end: %+v", p)
		}
	})
}

func TestBarFitsTheTerminal(t *testing.T) {
	early := Progress{
		Records: 12_500, Delivered: 9_800, Passed: 12_000, Remaining: 288_000, PerSecond: 4_803, ETA: time.Minute,
	}
	late := Progress{
		Records: 1_234_567_890, Delivered: 999_999, Passed: 1_234_000_000, Remaining: 12_345_678, PerSecond: 123_456,
		ETA: 100 * time.Second, RateLimited: true,
	}
	for _, c := range []struct {
		p     Progress
		width int
		want  string
	}{
		{Progress{ETA: -1}, 79, "waiting for partitions"},
		{Progress{ETA: -1}, 7, "waiting"},
		{
			Progress{Partitions: 1, ETA: -1, Remaining: 5}, 79,
			"[------------------------------]   0% 0 records, 0 events, 5 left, 0/s",
		},
		{early, 79, "[--------------]   4% 12,500 records, 9,800 events, 288,000 left, 4,803/s, 1m0s"},
		{late, 79, "[##-]  99% 1.2 B records, 999,999 events, 12.3 M left, 123,456/s limited, 1m40s"},
		{Progress{Partitions: 1, Passed: 5}, 79, "[##############################] 100% 0 records, 0 events, 0 left, 0/s"},
		{early, 20, "[]   4% 12,500 recor"},
	} {
		if got := c.p.Bar(c.width); got != c.want {
			t.Errorf("width %d:\n%s, want\n%s", c.width, got, c.want)
		}
	}
	for width := -1; width < 200; width++ {
		if n := len(late.Bar(width)); n > max(width, 0) {
			t.Errorf("width %d: %d columns", width, n)
		}
	}
}

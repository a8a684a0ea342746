package app

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestProgressIsLoggedOnceAMinuteOrEveryFiveWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		var records, delivered, lag atomic.Int64
		p := progress{zap.New(core), func() counts {
			return counts{
				At: time.Now(), Records: records.Load(), Delivered: delivered.Load(),
				Calls: map[call]int64{{"event", ""}: delivered.Load(), {"filtered", "not_track"}: records.Load()}, Lag: lag.Load(),
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go p.run(ctx)
		after := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			var got []string
			for _, e := range logs.TakeAll() {
				got = append(got, e.Message)
			}
			if !slices.Equal(got, want) {
				t.Errorf("logged %q, want %q", got, want)
			}
		}
		after(4*time.Minute + 30*time.Second)
		after(time.Minute, "progress")
		records.Add(10)
		lag.Store(3)
		after(time.Minute, "progress")
		lag.Store(0)
		delivered.Store(7)
		after(3*time.Second, "first events delivered")
		time.Sleep(time.Minute)
		synctest.Wait()
		entries := logs.TakeAll()
		if len(entries) != 1 {
			t.Fatalf("%d entries", len(entries))
		}
		fields := entries[0].ContextMap()
		for name, want := range map[string]int64{
			"records": 0, "events": 7, "filtered": 0, "rejected": 0, "delivered": 7, "lag": 0,
		} {
			if fields[name] != want {
				t.Errorf("%s: %v, want %d", name, fields[name], want)
			}
		}
		if fields["interval"] != time.Minute {
			t.Errorf("interval: %v", fields["interval"])
		}
		after(4 * time.Minute)
	})
}

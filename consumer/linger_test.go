package consumer

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// countFetches counts the Fetch requests that the brokers receive.
func (w *world) countFetches() *atomic.Int64 {
	fetches := &atomic.Int64{}
	w.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		fetches.Add(1)
		return nil, nil, false
	})
	return fetches
}

// At low rates, a fetch waits for more records. An event is nevertheless delivered within
// batch.max_age.
func TestFetchesWaitAtLowRates(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		const maxAge = 5 * time.Second
		m := w.join(func(c *Config, _ *sink.Config) { c.MaxAge = maxAge })
		time.Sleep(10 * time.Second)
		fetches := w.countFetches()
		for range 20 {
			start := time.Now()
			w.produce(1, nil) // alone in its batch, so that it waits longer than any other event could
			w.awaitDelivered(time.Minute)
			if took := time.Since(start); took > maxAge+200*time.Millisecond {
				t.Errorf("delivered after %v", took)
			}
			time.Sleep(137 * time.Millisecond)
		}
		start := time.Now()
		fetches.Store(0)
		for range 1000 {
			w.produce(1, nil)
			time.Sleep(10 * time.Millisecond)
		}
		if n, most := fetches.Load(), int64(time.Since(start)/fetchWait)+2; n > most {
			t.Errorf("%d fetches in %v, want at most %d", n, time.Since(start), most)
		}
		w.awaitDelivered(time.Minute)
		m.leave(t)
	})
}

// At low rates, the partitions' batches are sealed together, and so share their commits.
func TestPartitionsFetchedTogetherShareCommits(t *testing.T) {
	inWorld(t, 6, func(w *world) {
		m := w.join(func(c *Config, _ *sink.Config) { c.MaxAge = 5 * time.Second })
		time.Sleep(10 * time.Second)
		var commits atomic.Int64
		w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			commits.Add(1)
			return nil, nil, false
		})
		start := time.Now()
		for i := range int32(3000) {
			w.produce(1, nil, to(i%6))
			time.Sleep(20 * time.Millisecond)
		}
		// Without sharing, each of the six partitions needs at least one commit in each cycle.
		if n, most := commits.Load(), 5*int64(time.Since(start)/(4500*time.Millisecond)+1); n > most {
			t.Errorf("%d commits in %v, want at most %d", n, time.Since(start), most)
		}
		w.awaitDelivered(time.Minute)
		m.leave(t)
	})
}

// A fetch does not wait in a run that ends, or if batch.max_age leaves no time for it.
func TestFetchesDoNotAlwaysWait(t *testing.T) {
	for name, c := range map[string]Config{
		"ends":        {MaxAge: 5 * time.Second, Until: time.Unix(1, 0)},
		"short batch": {MaxAge: 1900 * time.Millisecond},
	} {
		if c.linger() != 0 {
			t.Errorf("%s: a fetch waits for %v", name, c.linger())
		}
	}
	inWorld(t, 1, func(w *world) {
		const maxAge = 100 * time.Millisecond
		m := w.join(func(c *Config, _ *sink.Config) { c.MaxAge = maxAge })
		time.Sleep(10 * time.Second)
		start := time.Now()
		w.produce(1, nil)
		w.awaitDelivered(time.Minute)
		if took := time.Since(start); took > maxAge+100*time.Millisecond {
			t.Errorf("delivered after %v", took)
		}
		m.leave(t)
	})
}

package consumer

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// rejectsLogged returns the log entries about rejected calls, each with the seconds since start,
// the reason, the count, if any, and the offset.
func rejectsLogged(log *observer.ObservedLogs, start time.Time) (entries []string) {
	for _, e := range log.All() {
		if f := e.ContextMap(); f["call"] != nil {
			entries = append(entries, fmt.Sprint(e.Time.Sub(start).Seconds(), " ", e.Message, " ", f["reason"], " ",
				f["count"], " ", f["offset"]))
		}
	}
	return entries
}

func TestRejectedCallsAreLoggedOncePerReasonAndMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, log := observer.New(zap.DebugLevel)
		rs, start, offset := &rejects{log: zap.New(core)}, time.Now(), int64(0)
		reject := func(reason transform.Reason, calls int) {
			for range calls {
				rs.add(&kgo.Record{Topic: "t", Partition: int32(offset % 3), Offset: offset}, 0, transform.Call{Reason: reason})
				offset++
			}
		}
		reject(transform.NoUserKey, 1)
		time.Sleep(time.Second / 2)
		for range 90 {
			reject(transform.NoUserKey, 10)
			time.Sleep(time.Second)
		}
		reject(transform.TooLarge, 1)
		reject(transform.Malformed, 100)
		time.Sleep(10 * time.Minute)
		reject(transform.Malformed, 1)
		time.Sleep(10 * time.Second)
		reject(transform.Malformed, 5)
		rs.flushAll()
		time.Sleep(time.Hour)
		want := []string{
			"0 call rejected no_user_key <nil> 0",
			"60 calls rejected no_user_key 600 600",
			"90.5 call rejected too_large <nil> 901",
			"90.5 call rejected malformed <nil> 902",
			"120 calls rejected no_user_key 300 900",
			"150.5 calls rejected malformed 99 1001",
			"690.5 calls rejected malformed 1 1002",
			"700.5 calls rejected malformed 5 1007",
		}
		if got := rejectsLogged(log, start); !slices.Equal(got, want) {
			t.Errorf("logged:\n%q\nwant:\n%q", got, want)
		}
	})
}

// All partitions share the groups. The last calls are logged even if the member leaves.
func TestRejectedCallsAreInTheStatusAndTheLog(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.produce(100, func(int) []byte { return []byte(`{"type":"track","event":"","userId":"u"}`) },
			kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		w.produce(1, func(int) []byte { return []byte(`[{"type":"track","event":"e","userId":"u"},{"type":"track"`) })
		w.produce(10, nil)
		core, log := observer.New(zap.InfoLevel)
		m := w.join(func(c *Config, _ *sink.Config) { c.Log = zap.New(core) })
		w.awaitDelivered(time.Minute)
		m.leave(t)
		status := m.Status().Rejects
		if len(status) != 2 || status[0].Reason != transform.NoEventName || status[0].Count != 100 ||
			status[0].Detail == "" || status[0].Topic != testTopic || status[0].Time.IsZero() ||
			status[1].Reason != transform.Malformed || status[1].Count != 1 {
			t.Errorf("status %+v", status)
		}
		var counted int64
		messages := map[string]int{}
		for _, e := range log.All() {
			f := e.ContextMap()
			if f["call"] == nil {
				continue
			}
			messages[e.Message]++
			if n, ok := f["count"].(int64); ok {
				counted += n
			}
			if f["detail"] == "" || f["topic"] != testTopic {
				t.Errorf("%s: %v", e.Message, f)
			}
		}
		if messages["call rejected"] != 2 || counted != 99 {
			t.Errorf("%v, %d calls counted", messages, counted)
		}
	})
}

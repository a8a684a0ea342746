package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

const (
	oldestGauge = prefix + "oldest_undelivered_timestamp_seconds"
	leftGauge   = prefix + "retention_left_seconds"
)

// gauges returns the values of the metrics that have a single series now, by name.
func (m *member) gauges(t *testing.T) map[string]float64 {
	t.Helper()
	synctest.Wait()
	families, err := m.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		if series := f.GetMetric(); len(series) == 1 && series[0].GetGauge() != nil {
			found[f.GetName()] = series[0].GetGauge().GetValue()
		}
	}
	return found
}

// timestamps returns the timestamps of the records in the test topic, which has one partition.
func (w *world) timestamps() (found []float64) {
	w.t.Helper()
	all, err := kafkatest.ReadAll(context.Background(), w.brokers, testTopic, w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range all {
		found = append(found, float64(r.Timestamp.UnixMilli())/1000)
	}
	return found
}

// isRead reports whether a request is a fetch by readFrom.
func isRead(r kmsg.Request) bool {
	fetch, ok := r.(*kmsg.FetchRequest)
	return ok && fetch.MaxBytes == 1
}

func TestOldestUndeliveredTimestampIsThatOfTheRecordAtTheWatermark(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.ld.Down(unavailable)
		m := w.join(nil)
		for range 3 * maxWindow { // three times the capacity of a window, in 192 s
			w.produce(100, nil)
			time.Sleep(time.Second)
		}
		all := w.timestamps()
		reads := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, When: isRead, Observe: true, Count: -1})
		check := func() (oldest float64, ok bool) {
			g := m.gauges(t)
			oldest, ok = g[oldestGauge]
			if at := int(g[prefix+"watermark_offset"]); ok != (at < len(all)) || ok && oldest != all[at] {
				t.Errorf("oldest undelivered record: %v, %v; watermark %d of %d", oldest, ok, at, len(all))
			}
			return oldest, ok
		}
		for range 60 {
			time.Sleep(time.Minute)
			if oldest, _ := check(); oldest != all[0] {
				t.Fatalf("oldest undelivered record at %v during the outage, want %v", oldest, all[0])
			}
		}
		w.ld.Down(ldtest.Fault{Kind: ldtest.Slow, For: 200 * time.Millisecond}) // accepted after this time
		seen := map[float64]bool{}
		for range 2000 {
			oldest, ok := check()
			if !ok {
				break
			}
			seen[oldest] = true
			time.Sleep(50 * time.Millisecond)
		}
		if len(seen) < 3 {
			t.Errorf("%d values until everything was delivered, want an advance in steps", len(seen))
		}
		if n := reads.Hits(); n > 0 {
			t.Errorf("%d records read again for their timestamp, want none", n)
		}
		w.awaitDelivered(time.Minute)
		m.leave(t)
		if g := m.gauges(t); g[oldestGauge] != 0 {
			t.Error("the series outlives the partition")
		}
	})
}

func TestOldestUndeliveredTimestampIsKnownIfTheRecordIsNotFetched(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		failing := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.KafkaStorageError, Count: -1,
			When: func(r kmsg.Request) bool { return !isRead(r) },
		})
		reads := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, When: isRead, Observe: true, Count: -1})
		w.produce(1, page)
		time.Sleep(time.Second)
		w.produce(1, nil)
		produced := float64(time.Now().UnixMilli()) / 1000
		m := w.join(nil)
		time.Sleep(5 * time.Second)
		if err := w.cluster.DeleteRecords(testTopic, 0, 1); err != nil { // below the watermark, which remains 0
			t.Fatal(err)
		}
		time.Sleep(3 * watchInterval)
		for range 10 {
			time.Sleep(time.Minute)
			if g := m.gauges(t); g[oldestGauge] != produced || g[prefix+"lag_records"] != 2 {
				t.Errorf("lag %v, oldest undelivered record at %v, want %v", g[prefix+"lag_records"], g[oldestGauge],
					produced)
			}
		}
		if n := reads.Hits(); n == 0 || n > 5 {
			t.Errorf("%d fetches of a single record, want a few", n)
		}
		failing.Remove()
		w.awaitDelivered(time.Minute)
		if g := m.gauges(t); g[oldestGauge] != 0 {
			t.Errorf("oldest undelivered record at %v after everything was delivered", g[oldestGauge])
		}
		m.leave(t)
	})
}

func TestRetentionLeftNeedsThePermissionToDescribeConfigs(t *testing.T) {
	const topic, retention = "short", time.Hour
	inWorld(t, 1, func(w *world) {
		config := map[string]string{configRetention: "3600000"}
		if err := w.cluster.CreateTopic(topic, 1, config); err != nil {
			t.Fatal(err)
		}
		denied := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: topic, Err: kerr.TopicAuthorizationFailed, Count: -1,
		})
		w.ld.Down(unavailable)
		w.produce(1, nil, kgo.DefaultProduceTopic(topic))
		produced := time.Now()
		core, logs := observer.New(zapcore.InfoLevel)
		m := w.join(func(c *Config, _ *sink.Config) { c.Topics, c.Log = []string{topic}, zap.New(core) })
		time.Sleep(4 * configInterval)
		g := m.gauges(t)
		if _, ok := g[leftGauge]; ok || g[oldestGauge] == 0 || g[prefix+"problems"] != 0 {
			t.Errorf("without the permission: %v", g)
		}
		entries := logs.FilterField(zap.String("permission", "DESCRIBE_CONFIGS")).All()
		if len(entries) != 1 || entries[0].Level != zapcore.InfoLevel {
			t.Errorf("logged %v, want one entry with the permission at info", entries)
		}
		if n := denied.Hits(); n < 3 || n > 5 {
			t.Errorf("%d requests in %v", n, 4*configInterval)
		}
		denied.Remove()
		for range 6 { // the last time, retention may already delete the record
			time.Sleep(10 * time.Minute)
			want := (retention - time.Since(produced)).Seconds()
			if left, ok := m.gauges(t)[leftGauge]; !ok || left != want {
				t.Errorf("%v, %v seconds left, want %v", left, ok, want)
			}
		}
		denied = w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: topic, Err: kerr.TopicAuthorizationFailed, Count: -1,
		})
		time.Sleep(2 * configInterval)
		if left, ok := m.gauges(t)[leftGauge]; ok {
			t.Errorf("%v seconds left after the permission was removed", left)
		}
		denied.Remove()
		time.Sleep(2 * configInterval)
		w.ld.Up()
		w.awaitDelivered(2 * time.Minute)
		if left, ok := m.gauges(t)[leftGauge]; ok {
			t.Errorf("%v seconds left, but nothing is undelivered", left)
		}
		m.leave(t)
	})
}

func TestTopicsThatNeverDeleteByAgeHaveNoRetention(t *testing.T) {
	for _, test := range []struct {
		retention, policy string
		want              time.Duration
	}{
		{"3600000", "delete", time.Hour},
		{"3600000", "compact,delete", time.Hour},
		{"3600000", "compact", 0},
		{"3600000", "", 0},
		{"-1", "delete", 0},
		{"9223372036854775807", "delete", 0},
	} {
		for _, reversed := range []bool{false, true} {
			configs := []kmsg.DescribeConfigsResponseResourceConfig{
				{Name: configRetention, Value: &test.retention}, {Name: configCleanup, Value: &test.policy},
			}
			if reversed {
				configs[0], configs[1] = configs[1], configs[0]
			}
			if got := deletionAge(configs); got != test.want {
				t.Errorf("%s=%s, %s=%s: %v, want %v", configRetention, test.retention, configCleanup, test.policy, got,
					test.want)
			}
		}
	}
}

func TestOldestUndeliveredRecordIsTheFirstThatNeedsDelivery(t *testing.T) {
	for _, cuts := range [][]int64{nil, {30}} { // without and with a range recorded by an earlier owner
		in := idleIntake(t, cuts...)
		expect := func(when string, want time.Time) {
			t.Helper()
			if got := in.status().Oldest; !got.Equal(want) {
				t.Errorf("%s, with cuts %v: %v, want %v", when, cuts, got, want)
			}
		}
		expect("before the first record", time.Time{})
		for offset, value := range [][]byte{page(0), track(1), page(2), track(3)} {
			in.mapRecord(&kgo.Record{Topic: in.topic, Offset: int64(offset), Value: value,
				Timestamp: time.UnixMilli(int64(1000 + offset))})
			in.publishFloor()
			if offset == 0 {
				expect("after a filtered record", time.Time{})
			}
		}
		expect("in an open range", time.UnixMilli(1001))
		in.cuts = nil
		in.seal(sealDrain)
		expect("in a sealed batch", time.UnixMilli(1001))
		in.window.endSend(in.window.batches[0], true)
		expect("after the delivery", time.Time{})
		in.mapRecord(&kgo.Record{Topic: in.topic, Offset: 4, Value: track(4), Timestamp: time.UnixMilli(-1)})
		expect("without a timestamp", time.Time{})
	}
}

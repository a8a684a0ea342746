package checks

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// incident is a failure in the program's environment that starts and ends.
type incident struct {
	name      string
	start     func()
	want      []string // alerts that must fire, in this order
	also      []string // alerts that must fire too, in any order
	tolerated []string // alerts that can fire too, depending on timing
	end       func()
}

// A real Prometheus with accelerated rules scrapes the program, which reads from an embedded
// broker.
func TestAlertsFireAndClear(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.ld.Poison(ldtest.Containing(`"key":"poison"`))
	failCommits := failCommits(w)
	p := startPrometheus(t)
	// With one request in flight at a time, slow responses limit throughput.
	env := w.env("S2LD_BATCH_MAX_EVENTS=10", "S2LD_DELIVERY_MAX_IN_FLIGHT=1", "GOMEMLIMIT=256MiB")
	p.add("a", start(t, env...))
	var rejected, foreign atomic.Bool
	stop := w.flow(t, 2, 10*time.Millisecond, func(int32) string {
		if n := w.calls.Load(); n%10 == 0 && rejected.Load() {
			w.calls.Add(1)
			return `{"type":"track"}`
		}
		if foreign.Load() {
			return `{"level":"info","msg":"not a call"}`
		}
		return w.track("Order Completed")
	})
	until(t, "deliveries", 30*time.Second, func() bool {
		return len(p.query(`sum(rate(segment_launchdarkly_sink_events_delivered_total[3s])) > 100`)) > 0
	})
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if firing := p.firing(); len(firing) > 0 {
			t.Fatalf("before the first incident: %v firing", firing)
		}
	}

	down := func(f ldtest.Fault) func() { return func() { w.ld.Down(f) } }
	var b, c *replica
	for _, i := range []incident{
		{
			name:  "LaunchDarkly is slower than the topic",
			start: down(ldtest.Fault{Kind: ldtest.Slow, For: 200 * time.Millisecond}), end: w.ld.Up,
			want: []string{"LagGrowing"},
		}, {
			name:  "LaunchDarkly rejects the credentials",
			start: down(ldtest.Fault{Status: 401}), end: w.ld.Up,
			want: []string{"Halted", "NothingDelivered"}, also: []string{"RetriesSustained"}, tolerated: []string{"LagGrowing"},
		}, {
			name:  "LaunchDarkly is down",
			start: down(ldtest.Fault{Status: 503}), end: w.ld.Up,
			also: []string{"NothingDelivered", "RetriesSustained"}, tolerated: []string{"LagGrowing"},
		}, {
			name:  "one batch is never accepted",
			start: func() { w.jammed.Store(true); w.produce(t, 1, w.track("jam")) },
			end:   func() { w.jammed.Store(false) },
			want:  []string{"PartitionStuck partition=1"}, tolerated: []string{"RetriesSustained", "LagGrowing"},
		}, {
			name:  "one call in ten is rejected",
			start: func() { rejected.Store(true) }, end: func() { rejected.Store(false) },
			want: []string{"DeadLetters reason=no_event_name", "RejectsRising"},
		}, {
			name:  "the records are not Segment calls",
			start: func() { foreign.Store(true) }, end: func() { foreign.Store(false) },
			want: []string{"Problems pod=a", "NothingMapped"},
		}, {
			name:  "LaunchDarkly rejects one event",
			start: func() { w.produce(t, 0, w.track("poison")) }, end: func() {},
			also: []string{"DeadLetters reason=refused", "EventsRefused"},
		}, {
			name:  "the broker rejects commits",
			start: func() { failCommits.Store(true) }, end: func() { failCommits.Store(false) },
			want: []string{"Problems pod=a", "CommitsFailing", "NothingDelivered"}, tolerated: []string{"LagGrowing"},
		}, {
			name: "more replicas than partitions",
			start: func() {
				b = start(t, env...)
				until(t, "a second owner", 30*time.Second, func() bool {
					return total(b.scrape(t)["segment_launchdarkly_consumer_assigned_partitions"]) == 1
				})
				c = start(t, env...)
				p.add("b", b)
				p.add("c", c)
			},
			end:  func() { c.stop(); p.drop("c"); b.stop(); p.drop("b") },
			want: []string{"ReplicaWithoutPartitions pod=c"},
		},
	} {
		started := time.Now()
		i.start()
		order := p.follow(time.Minute, i.tolerated, slices.Concat(i.want, i.also)...)
		order = slices.DeleteFunc(order, func(name string) bool { return slices.Contains(i.also, name) })
		if !slices.Equal(order, i.want) {
			t.Errorf("%s: fired %v, want %v", i.name, order, i.want)
		}
		fired := time.Since(started)
		i.end()
		p.quiet(time.Minute)
		t.Logf("%s: %v %v fired after %.1fs, cleared after %.1fs",
			i.name, i.want, i.also, fired.Seconds(), time.Since(started).Seconds())
	}
	lateGroup(t, w, p)
	p.checkRuleHealth()
	// At this point the replica owns partitions. It can lose them after the broker stops.
	before := p.emptyPanels()
	stop()
	w.kafka.Close()
	until(t, "read errors and connect errors", 30*time.Second, func() bool {
		return len(p.query("rate(segment_launchdarkly_kafka_connect_errors_total[1m])")) > 0 &&
			len(p.query("rate(segment_launchdarkly_kafka_read_errors_total[1m])")) > 0
	})
	for fault := range p.emptyPanels() {
		if before[fault] {
			t.Error(fault)
		}
	}
}

// failCommits returns a flag. While it is true, the broker rejects commits.
func failCommits(w *world) *atomic.Bool {
	var fail atomic.Bool
	w.kafka.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		if !fail.Load() {
			return nil, nil, false
		}
		response := r.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range r.(*kmsg.OffsetCommitRequest).Topics {
			t := kmsg.NewOffsetCommitResponseTopic()
			t.Topic, t.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				p := kmsg.NewOffsetCommitResponseTopicPartition()
				p.Partition, p.ErrorCode = partition.Partition, kerr.GroupAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			response.Topics = append(response.Topics, t)
		}
		return response, nil, true
	})
	return &fail
}

// lateGroup checks the alerts of a second group. First its topic does not exist, then its only
// replica stops, and then it starts again after retention has deleted records that it never read.
func lateGroup(t *testing.T, w *world, p *prometheus) {
	d := start(t, w.env("S2LD_KAFKA_GROUP=late", "S2LD_KAFKA_TOPICS=missing")...)
	p.add("d", d)
	if order := p.follow(time.Minute, nil, "Problems pod=d", "NotJoined pod=d"); order[0] != "Problems pod=d" {
		t.Error(order)
	}
	d.stop()
	p.drop("d")
	p.follow(time.Minute, []string{"Problems pod=d", "NotJoined pod=d"}, "Gone")

	admin := kadm.NewClient(w.client)
	var behind, deleted kadm.Offsets
	behind.AddOffset(topic, 0, 0, -1)
	deleted.AddOffset(topic, 0, 100, -1)
	if err := admin.CommitAllOffsets(t.Context(), "late", behind); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteRecords(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	p.add("e", start(t, w.env("S2LD_KAFKA_GROUP=late")...))
	tolerated := []string{
		"Gone", "DeadLetters reason=no_event_name", "DeadLetters reason=refused", "EventsRefused", "RejectsRising",
	}
	p.follow(time.Minute, tolerated, "RecordsLost")
	until(t, "Gone to clear", time.Minute, func() bool { return !slices.Contains(p.firing(), "Gone") })
}

// checkRuleHealth fails the test if Prometheus could not evaluate a rule.
func (p *prometheus) checkRuleHealth() {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.get("/api/v1/rules", &data)
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if n++; r.Health != "ok" {
				p.t.Errorf("%s: %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := len(rules(p.t)); n != want {
		p.t.Errorf("Prometheus evaluates %d rules of %d", n, want)
	}
}

// emptyPanels describes each dashboard query that has no result, and each legend label that no
// series of the result has.
func (p *prometheus) emptyPanels() map[string]bool {
	p.t.Helper()
	empty := map[string]bool{}
	for _, panel := range panels(p.t) {
		for _, target := range panel.Targets {
			result := p.query(variables.Replace(target.Expr))
			if len(result) == 0 {
				empty[fmt.Sprintf("panel %s shows nothing: %s", panel.Title, target.Expr)] = true
			}
			for _, label := range submatches(legendLabel, target.LegendFormat) {
				if !slices.ContainsFunc(result, func(m map[string]string) bool { return m[label] != "" }) {
					empty[fmt.Sprintf("panel %s: no series has the label %s of the legend %s",
						panel.Title, label, target.LegendFormat)] = true
				}
			}
		}
	}
	return empty
}

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

// incident is something that goes wrong around the program and is mended.
type incident struct {
	name      string
	wrong     func()
	want      []string // the alerts, in the order in which they fire
	also      []string // those that fire beside them, in any order
	tolerated []string // those that may fire too, depending on how long the others take
	mend      func()
}

// A real Prometheus, with the rules hurried, scrapes the real program on an embedded broker.
func TestAlertsFireAndClearAroundTheRunningProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.ld.Poison(ldtest.Containing(`"key":"poison"`))
	refuseCommits := refuseCommits(w)
	p := startPrometheus(t)
	// A single request at a time, so that an answer that is slow is a service that is too slow.
	env := w.env("S2LD_BATCH_MAX_EVENTS=10", "S2LD_DELIVERY_MAX_IN_FLIGHT=1", "GOMEMLIMIT=256MiB")
	p.add("a", start(t, env...))
	var rejects, foreign atomic.Bool
	stop := w.flow(t, 2, 10*time.Millisecond, func(int32) string {
		if n := w.numbs.Load(); n%10 == 0 && rejects.Load() {
			w.numbs.Add(1)
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
			t.Fatalf("all is well, and there fires %v", firing)
		}
	}

	down := func(f ldtest.Fault) func() { return func() { w.ld.Down(f) } }
	var b, c *replica
	for _, i := range []incident{
		{
			name:  "LaunchDarkly is slower than the topic",
			wrong: down(ldtest.Fault{Kind: ldtest.Slow, For: 200 * time.Millisecond}), mend: w.ld.Up,
			want: []string{"LagGrowing"},
		}, {
			name:  "LaunchDarkly refuses the credentials",
			wrong: down(ldtest.Fault{Status: 401}), mend: w.ld.Up,
			want: []string{"Halted", "NothingDelivered"}, also: []string{"RetriesSustained"}, tolerated: []string{"LagGrowing"},
		}, {
			name:  "LaunchDarkly is down",
			wrong: down(ldtest.Fault{Status: 503}), mend: w.ld.Up,
			also: []string{"NothingDelivered", "RetriesSustained"}, tolerated: []string{"LagGrowing"},
		}, {
			name:  "one batch is never accepted",
			wrong: func() { w.jammed.Store(true); w.produce(t, 1, w.track("jam")) }, mend: func() { w.jammed.Store(false) },
			want: []string{"PartitionStuck partition=1"}, tolerated: []string{"RetriesSustained", "LagGrowing"},
		}, {
			name:  "one call in ten is rejected",
			wrong: func() { rejects.Store(true) }, mend: func() { rejects.Store(false) },
			want: []string{"DeadLetters reason=no_event_name", "RejectsRising"},
		}, {
			name:  "the records are not Segment calls",
			wrong: func() { foreign.Store(true) }, mend: func() { foreign.Store(false) },
			want: []string{"Problems pod=a", "NothingMapped"},
		}, {
			name:  "one event is refused",
			wrong: func() { w.produce(t, 0, w.track("poison")) }, mend: func() {},
			also: []string{"DeadLetters reason=refused", "EventsRefused"},
		}, {
			name:  "the group refuses commits",
			wrong: func() { refuseCommits.Store(true) }, mend: func() { refuseCommits.Store(false) },
			want: []string{"Problems pod=a", "CommitsFailing", "NothingDelivered"}, tolerated: []string{"LagGrowing"},
		}, {
			name: "more replicas than partitions",
			wrong: func() {
				b = start(t, env...)
				until(t, "a second owner", 30*time.Second, func() bool { return total(b.scrape(t)["segment_launchdarkly_consumer_assigned_partitions"]) == 1 })
				c = start(t, env...)
				p.add("b", b)
				p.add("c", c)
			},
			mend: func() { c.stop(); p.drop("c"); b.stop(); p.drop("b") },
			want: []string{"ReplicaWithoutPartitions pod=c"},
		},
	} {
		begun := time.Now()
		i.wrong()
		order := p.follow(time.Minute, i.tolerated, slices.Concat(i.want, i.also)...)
		order = slices.DeleteFunc(order, func(name string) bool { return slices.Contains(i.also, name) })
		if !slices.Equal(order, i.want) {
			t.Errorf("%s: %v, want %v", i.name, order, i.want)
		}
		fired := time.Since(begun)
		i.mend()
		p.quiet(time.Minute)
		t.Logf("%s: %v %v after %.1fs, quiet after %.1fs", i.name, i.want, i.also, fired.Seconds(), time.Since(begun).Seconds())
	}
	anotherGroup(t, w, p)
	p.everyRuleWorks()
	calm := p.emptyPanels() // now the replica owns partitions; it may have lost them when the broker is gone
	stop()
	w.kafka.Close()
	until(t, "connections that break and fail", 30*time.Second, func() bool {
		return len(p.query("rate(segment_launchdarkly_kafka_connect_errors_total[1m])")) > 0 &&
			len(p.query("rate(segment_launchdarkly_kafka_read_errors_total[1m])")) > 0
	})
	for fault := range p.emptyPanels() {
		if calm[fault] {
			t.Error(fault)
		}
	}
}

// refuseCommits returns what makes the broker refuse commits while it is true.
func refuseCommits(w *world) *atomic.Bool {
	var refuse atomic.Bool
	w.kafka.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		if !refuse.Load() {
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
	return &refuse
}

// anotherGroup is one whose topic does not exist, whose last replica then ends, and which comes back when retention has
// deleted records that it never read.
func anotherGroup(t *testing.T, w *world, p *prometheus) {
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
	again := []string{"DeadLetters reason=no_event_name", "DeadLetters reason=refused", "EventsRefused", "RejectsRising"}
	p.follow(time.Minute, append(again, "Gone"), "RecordsLost")
	until(t, "that the group is back", time.Minute, func() bool { return !slices.Contains(p.firing(), "Gone") })
}

// everyRuleWorks fails the test if Prometheus could not evaluate a rule.
func (p *prometheus) everyRuleWorks() {
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

// emptyPanels names each query of the dashboard that has no result now, and each that has none with a label that its
// legend shows.
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
					empty[fmt.Sprintf("panel %s: no series has the label %s of its legend %s", panel.Title, label, target.LegendFormat)] = true
				}
			}
		}
	}
	return empty
}

package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// commitAs commits an offset like another program or an operator.
func (w *world) commitAs(offset int64, epoch int32, metadata string) {
	w.t.Helper()
	client, err := kgo.NewClient(w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: testTopic, Partition: 0, At: offset, LeaderEpoch: epoch, Metadata: metadata})
	if err := kadm.NewClient(client).CommitAllOffsets(context.Background(), testGroup, offsets); err != nil {
		w.t.Fatal(err)
	}
}

// Offsets can be beyond the end after the brokers' disks were restored, or if the group was copied
// from another cluster.
func TestOffsetBeyondTheEndLosesNoRecords(t *testing.T) {
	for _, epoch := range []int32{-1, 0, 3} {
		for _, metadata := range []string{"", "v1", "v1 +100 +7", "of another client"} {
			t.Run(fmt.Sprint(epoch, metadata), func(t *testing.T) {
				inWorld(t, 1, func(w *world) {
					w.produce(10, page)
					w.produce(20, nil) // the offset does not prove that these were delivered
					w.unchecked = true
					w.commitAs(5000, epoch, metadata)
					w.unchecked = false
					m := w.join(nil)
					w.produce(1000, nil)
					w.awaitDelivered(10 * time.Minute)
					if n := testutil.ToFloat64(m.metrics.moves.WithLabelValues(moveForeign)); n != 1 {
						t.Errorf("%v offsets counted as not in the log, want 1", n)
					}
					m.leave(t)
				})
			})
		}
	}
}

func TestStarterResolvesCommittedOffsets(t *testing.T) {
	const known, other = 1, 2
	id := func(b byte) topicID { return topicID{b} }
	metadata := func(b byte, cuts ...int64) string {
		text, _ := formatMetadata(100, cuts, id(b))
		return text
	}
	for _, test := range []struct {
		name     string
		id       byte // topic ID; 0 if unknown
		metadata string
		epoch    int32
		end      position // end of the log, which starts at 10
		epochEnd position // end of the committed epoch; epoch -1 if unknown

		offset int64 // want; -1 if kafka.start_at decides
		cuts   []int64
		source byte
		move   string
		commit bool // the resolved offset must be committed first
	}{
		{name: "unchanged log", id: known, metadata: metadata(known, 110), epoch: 3, end: position{200, 3},
			epochEnd: position{200, 3}, offset: 100, cuts: []int64{110}, source: known},
		{name: "at the end", id: known, metadata: metadata(known), epoch: 3, end: position{100, 3},
			epochEnd: position{100, 3}, offset: 100, source: known},
		{name: "below the start", id: known, metadata: metadata(known), epoch: -1, end: position{200, 3},
			epochEnd: position{-1, -1}, offset: 100, source: known},
		{name: "metadata of another client", id: known, metadata: "mm2", epoch: -1, end: position{200, 3},
			epochEnd: position{-1, -1}, offset: 100, source: known},
		{name: "truncated", id: known, metadata: metadata(known, 110), epoch: 3, end: position{200, 4},
			epochEnd: position{90, 3}, offset: 90, source: known, move: moveTruncated, commit: true},
		{name: "truncated below the start", id: known, metadata: metadata(known), epoch: 3, end: position{200, 4},
			epochEnd: position{5, 3}, offset: 10, source: known, move: moveTruncated, commit: true},
		{name: "truncated, epoch unknown", id: known, metadata: metadata(known, 110), epoch: -1, end: position{90, 4},
			epochEnd: position{-1, -1}, offset: 90, source: known, move: moveTruncated, commit: true},
		{name: "beyond the end, without an ID", id: known, metadata: metadata(0, 110), epoch: -1, end: position{90, 4},
			epochEnd: position{-1, -1}, offset: -1, source: known, move: moveForeign, commit: true},
		{name: "beyond the end of the same epoch, without IDs", metadata: metadata(0), epoch: 0, end: position{90, 0},
			epochEnd: position{90, 0}, offset: -1, move: moveForeign, commit: true},
		{name: "truncated, without IDs", metadata: metadata(0), epoch: 0, end: position{90, 1},
			epochEnd: position{80, 0}, offset: 80, move: moveTruncated, commit: true},
		{name: "committed for the old topic", id: known, metadata: metadata(other, 110), epoch: 3,
			end:      position{200, 3},
			epochEnd: position{200, 3}, offset: 10, source: known, move: moveRecreated, commit: true},
		{name: "committed for the old topic, beyond the end", id: known, metadata: metadata(other, 110), epoch: 3,
			end: position{90, 3}, epochEnd: position{-1, -1}, offset: 10, source: known, move: moveRecreated,
			commit: true},
		{name: "IDs appeared after the cuts were recorded", id: known, metadata: metadata(0, 110), epoch: 3,
			end: position{200, 3}, epochEnd: position{200, 3}, offset: 100, cuts: []int64{110}, source: 0},
		{name: "IDs appeared, and no cuts were recorded", id: known, metadata: metadata(0), epoch: 3,
			end: position{200, 3}, epochEnd: position{200, 3}, offset: 100, source: known},
		{name: "IDs vanished", metadata: metadata(known, 110), epoch: 3, end: position{200, 3},
			epochEnd: position{200, 3}, offset: 100, cuts: []int64{110}, source: known},
	} {
		t.Run(test.name, func(t *testing.T) {
			sess := idleSession(t)
			sess.ids[testTopic] = id(test.id)
			sess.topics.known[testTopic] = knownTopic{id: id(test.id), partitions: 1}
			response := kmsg.NewPtrOffsetFetchResponse()
			part := kmsg.OffsetFetchResponseGroupTopicPartition{
				Offset: 100, LeaderEpoch: test.epoch, Metadata: &test.metadata,
			}
			response.Groups = []kmsg.OffsetFetchResponseGroup{{Topics: []kmsg.OffsetFetchResponseGroupTopic{{
				Topic: testTopic, Partitions: []kmsg.OffsetFetchResponseGroupTopicPartition{part},
			}}}}
			committed, err := sess.starter.parse(response)
			if err != nil {
				t.Fatal(err)
			}
			c := committed[0]
			name := c.topicPartition
			b := bounds{start: map[topicPartition]position{name: {10, 0}},
				end: map[topicPartition]position{name: test.end}}
			if test.epochEnd.epoch >= 0 {
				b.epochEnd = map[topicPartition]position{name: test.epochEnd}
			}
			counts := sess.starter.resolveCommitted(&c, b)
			if offset := test.offset; counts != (offset >= 0) || c.offset != offset ||
				!slices.Equal(c.cuts, test.cuts) {
				t.Errorf("start at %d (%v) with cuts %v, want %d with cuts %v", c.offset, counts, c.cuts, offset,
					test.cuts)
			}
			if c.committed == test.commit || c.sourceID(id(test.id)) != id(test.source) {
				t.Errorf("start is committed: %v, source ID: %v", c.committed, c.sourceID(id(test.id)))
			}
			for _, cause := range []string{moveForeign, moveRecreated, moveTruncated} {
				want := 0.0
				if cause == test.move {
					want = 1
				}
				if n := testutil.ToFloat64(sess.metrics.moves.WithLabelValues(cause)); n != want {
					t.Errorf("%v moves counted for cause %s", n, cause)
				}
			}
		})
	}
}

// Brokers gain or lose topic IDs, because they are upgraded or rolled back while batches are in
// flight.
func TestTopicIDsThatAppearOrVanishCauseNoDuplicates(t *testing.T) {
	without := func(c *Config, _ *sink.Config) { c.Client = append(c.Client, kgo.MaxVersions(kversion.V2_7_0())) }
	for name, change := range map[string][2]func(*Config, *sink.Config){"appear": {without, nil},
		"vanish": {nil, without}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.produce(2000, mixed)
				w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true}) // accepted, but no response
				a := w.join(change[0])
				time.Sleep(20 * time.Second)
				a.kill()
				b := w.join(change[1])
				w.ld.Up()
				w.awaitDelivered(5 * time.Minute)
				a.abort()
				b.finish(t)
				if w.ld.Report().Duplicates == 0 {
					t.Error("test has no effect: nothing was resent")
				}
				for _, m := range []*member{a, b} {
					if n := testutil.ToFloat64(m.metrics.recreations); n > 0 {
						t.Errorf("%v recreations counted, want 0", n)
					}
				}
			})
		})
	}
}

// The client's metadata of the topic is older than the partition.
func TestPartitionsAddedUnderLoadDisturbNoOthers(t *testing.T) {
	onBothProtocols(t, 3, func(w *world, protocol func(*Config)) {
		delayRequests(w, 300*time.Millisecond)
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.produce(500, nil)
		for range 3 {
			time.Sleep(5 * time.Second)
			w.addPartitions(2)
			for range 50 {
				w.produce(20, nil)
				time.Sleep(200 * time.Millisecond)
			}
		}
		w.awaitDelivered(2 * time.Minute)
		time.Sleep(metadataAge)
		if n := len(m.Status().Partitions); n != 9 {
			w.t.Errorf("%d partitions, want 9", n)
		}
		for _, cause := range endCauses {
			if n := m.endedSessions(cause); n > 0 {
				w.t.Errorf("%v sessions ended for cause %s", n, cause)
			}
		}
		m.leave(w.t)
		w.checkSentOnce()
	})
}

func TestUnknownTopicIDIsNoEvidenceOfRecreation(t *testing.T) {
	s := idleSession(t)
	for i, step := range []struct {
		sent, want byte
		recreated  bool
	}{{0, 0, false}, {1, 1, false}, {0, 1, false}, {1, 1, false}, {2, 2, true}, {0, 2, true}} {
		got := s.topics.remember("other", topicInfo{id: topicID{step.sent}})
		if got != (topicID{step.want}) || s.topics.firstSeen("other").recreated != step.recreated {
			t.Errorf("step %d: ID %v, recreated %v", i, got, s.topics.firstSeen("other").recreated)
		}
	}
}

// In version 10 or later, a commit names topics by ID only.
func TestCommitsNameTopicsWithoutID(t *testing.T) {
	cfg := Config{Topics: []string{testTopic}, Group: testGroup, SessionTimeout: time.Second}
	for id, most := range map[byte]int16{0: 9, 1: 10} {
		client, err := kgo.NewClient(cfg.groupOptions(map[string]topicID{testTopic: {id}})...)
		if err != nil {
			t.Fatal(err)
		}
		got := int16(10)
		if versions, _ := client.OptValue(kgo.MaxVersions).(*kversion.Versions); versions != nil {
			got, _ = versions.LookupMaxKeyVersion(keyOffsetCommit)
		}
		if got != most {
			t.Errorf("topic ID %d: maximum version %d, want %d", id, got, most)
		}
		client.Close()
	}
}

func TestLagIsNotZeroBeyondTheEndOfTheLog(t *testing.T) {
	in := idleIntake(t)
	in.mapOffsets(offsets(0, 5)...)
	in.end.setListed(3, time.Now())
	in.stopIntake()
	go in.run()
	<-in.stopped
	s, _ := in.window.snapshot()
	for _, b := range in.window.applyCommit(s, time.Now()) {
		in.window.endSend(b, true)
	}
	if s := in.status(); s.Watermark != 5 || s.Lag != 2 {
		t.Errorf("status %+v", s)
	}
}

func TestCallHeaderAppliesOnlyInARedrive(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		call5 := kgo.RecordHeader{Key: headerCall, Value: []byte("5")}
		client, err := kgo.NewClient(w.kafka()...)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			w.produced++
			r, err := client.ProduceSync(context.Background(),
				&kgo.Record{Topic: testTopic, Value: track(n), Headers: []kgo.RecordHeader{call5}}).First()
			if err != nil {
				t.Fatal(err)
			}
			w.place(r, n)
		}
		client.Close()
		m := w.join(nil)
		w.awaitDelivered(time.Minute)
		m.leave(t)
		redrive := w.join(func(c *Config, _ *sink.Config) {
			c.Group, c.Redrive, c.DeadLetterTopic = "redrive", true, letters
		})
		time.Sleep(10 * time.Second)
		redrive.leave(t)
		dead := w.readLetters()
		if len(dead) != 2 || header(dead[0], headerReason) != "malformed" ||
			header(dead[0], headerDetail) != "the record has no call with index 5" {
			t.Errorf("dead letters: %v", dead)
		}
	})
}

// The record is already deleted when LaunchDarkly rejects its event, so the dead letter holds the
// event itself. A redrive sends the event verbatim.
func TestRedriveSendsAnEventStoredInsteadOfItsRecord(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.ld.Poison(func(event []byte) bool { return strings.Contains(string(event), `"n":12,`) })
		w.ld.Down(unavailable)
		w.produce(100, nil)
		m := w.join(func(c *Config, _ *sink.Config) { c.DeadLetterTopic = letters })
		w.expectRejected(12)
		time.Sleep(time.Minute)
		if err := w.cluster.DeleteRecords(testTopic, 0, 100); err != nil {
			t.Fatal(err)
		}
		w.ld.Up()
		w.awaitDelivered(10 * time.Minute)
		m.finish(t)
		dead := w.readLetters()
		if len(dead) != 1 || header(dead[0], headerValue) != valueEvent {
			t.Fatalf("dead letters: %v", dead)
		}
		w.ld.Poison(nil)
		w.redriven = true
		redrive := w.join(func(c *Config, _ *sink.Config) {
			c.Group, c.Topics, c.Redrive = "redrive", []string{letters}, true
		})
		time.Sleep(10 * time.Second)
		redrive.leave(t)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.counted["12"] != 1 {
			t.Errorf("event 12 counted %d times, want 1", w.counted["12"])
		}
	})
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// The table lists the errors that brokers return for OffsetCommit, according to Kafka's protocol
// documentation and code, a network error, and two errors of the program.
func TestEachCommitErrorHasItsEffect(t *testing.T) {
	for _, tt := range []struct {
		err       error
		cause     string // cause of the session's end; empty if the session continues
		transient bool
	}{
		{kerr.UnknownMemberID, endLost, false},
		{kerr.FencedMemberEpoch, endLost, false},
		{kerr.FencedInstanceID, endFenced, false},
		{errRemoved, endLost, true},
		{fmt.Errorf("%w: %w", errUnanswered, errors.New("EOF")), endUnanswered, true},

		{kerr.RebalanceInProgress, "", true},
		{kerr.IllegalGeneration, "", true},
		{kerr.StaleMemberEpoch, "", true},
		{kerr.NotCoordinator, "", true},
		{kerr.CoordinatorNotAvailable, "", true},
		{kerr.CoordinatorLoadInProgress, "", true},
		{kerr.RequestTimedOut, "", true},
		{kerr.UnknownTopicOrPartition, "", true},
		{kerr.UnknownTopicID, "", true},
		{errors.New("connection refused"), "", true},

		{kerr.GroupAuthorizationFailed, "", false},
		{kerr.TopicAuthorizationFailed, "", false},
		{kerr.OffsetMetadataTooLarge, "", false},
		{kerr.InvalidCommitOffsetSize, "", false},
		{kerr.UnknownServerError, "", false},
	} {
		err := fmt.Errorf("commit offset: %w", tt.err)
		if cause, transient := endCauseOf(err), isTransient(err); cause != tt.cause || transient != tt.transient {
			t.Errorf("%v: cause %q, transient %v, want %q, %v", tt.err, cause, transient, tt.cause, tt.transient)
		}
	}
}

// The commit problem ends only when no owned partition's commit fails.
func TestCommitProblemRemainsWhileAnyPartitionFails(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		failing := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Partitions: []int32{0},
			Err: kerr.TopicAuthorizationFailed, Count: -1})
		m := w.join(nil)
		time.Sleep(10 * time.Second)
		drain := func(number int32) {
			t.Helper()
			w.produce(300, nil)
			time.Sleep(time.Second)
			m.mu.Lock()
			s := m.current
			m.mu.Unlock()
			if err := s.drain([]*partition{s.owned(topicPartition{testTopic, number})}); (err != nil) != (number == 0) {
				t.Errorf("drain of partition %d: %v", number, err)
			}
		}
		expect := func(when string, reported bool) {
			t.Helper()
			p := strings.Join(m.Status().Problems, "\n")
			if strings.Contains(p, "offset commit failing") != reported {
				t.Errorf("%s: problems %q", when, p)
			}
		}
		expect("at first", true)
		drain(1)
		expect("after a drain of another partition", true)
		drain(0)
		w.produce(300, nil)
		time.Sleep(2 * commitInterval)
		expect("after the release of the failing partition", false)
		failing.Remove()
		m.abort()
		m.end()
	})
}

// Kafka writes the records of a commit as one batch, and rejects the whole commit if the batch
// exceeds max.message.bytes of the offsets topic, which is 1 MB by default.
func TestCommitOfManyPartitionsIsSplit(t *testing.T) {
	const partitions, many = 3000, "many"
	id := topicID{1}
	errNone := errors.New("no response")
	for name, tt := range map[string]struct {
		respond func(request int, partition int32) error
		stored  int // number of partitions; -1 for those in the first request
		cause   string
		cancel  bool // whether the commit is canceled after the first request
	}{
		"accepted": {func(int, int32) error { return nil }, partitions, "", false},
		"canceled": {func(int, int32) error { return nil }, -1, "", true},
		"half of the partitions rejected": {func(_ int, partition int32) error {
			if partition%2 == 1 {
				return kerr.TopicAuthorizationFailed
			}
			return nil
		}, partitions / 2, "", false},
		"second request without response": {func(request int, _ int32) error {
			if request > 1 {
				return errNone
			}
			return nil
		}, -1, endUnanswered, false},
		"removed from the group": {func(request int, _ int32) error {
			if request > 1 {
				return kerr.UnknownMemberID
			}
			return nil
		}, -1, endLost, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				w.unchecked = true
				m := w.join(nil)
				time.Sleep(5 * time.Second)
				m.mu.Lock()
				session := m.current
				m.mu.Unlock()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				cause, sent := "", 0
				c := &committer{
					client: session.client, group: testGroup, ids: map[string]topicID{many: id},
					written: session.committer.written, health: session.health, metrics: session.metrics,
					send: func(*partition, *batch) {
						sent++
						if tt.cancel {
							cancel()
						}
					},
					end:      func(why string, _ error) { cause = why },
					commitMu: make(chanMutex, 1), coordinator: -1,
					failing: map[*partition]struct{}{}, dirty: map[*partition]struct{}{},
				}
				member, _ := c.client.GroupMetadata()
				for number := range int32(partitions) {
					at := start{topicPartition: topicPartition{many, number}, position: position{1 << 40, 7}}
					var p *partition
					p = newPartition(at, member, zap.NewNop(), newWindow(at, id, session.memory, func(bool) { c.markDirty(p) }))
					for i := range int64(maxWindow) {
						first := at.offset + 1000*i
						b := &batch{first: position{first, 7}, next: first + 1000, state: stateSealed}
						p.window.push(b, position{b.next, 7}, nil)
					}
				}

				requests, first := 0, 0
				w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
					w.cluster.KeepControl()
					request := r.(*kmsg.OffsetCommitRequest)
					if request.Topics[0].Topic != many && request.Topics[0].TopicID != id {
						return nil, nil, false
					}
					requests++
					if requests == 1 {
						first = len(request.Topics[0].Partitions)
					}
					response, bytes := request.ResponseKind().(*kmsg.OffsetCommitResponse), 0
					response.Topics = []kmsg.OffsetCommitResponseTopic{{Topic: many, TopicID: id}}
					for _, p := range request.Topics[0].Partitions {
						key := kmsg.OffsetCommitKey{Version: 1, Group: request.Group, Topic: many, Partition: p.Partition}
						value := kmsg.OffsetCommitValue{Version: 3, Offset: p.Offset, Metadata: *p.Metadata}
						bytes += len(key.AppendTo(nil)) + len(value.AppendTo(nil)) + 20 // header of the record
						err := tt.respond(requests, p.Partition)
						if errors.Is(err, errNone) {
							return nil, err, true
						}
						result := kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition}
						if rejected, ok := errors.AsType[*kerr.Error](err); ok {
							result.ErrorCode = rejected.Code
						}
						response.Topics[0].Partitions = append(response.Topics[0].Partitions, result)
					}
					if bytes > maxCommitBytes {
						t.Errorf("request %d stores %d bytes, want at most %d", requests, bytes, maxCommitBytes)
					}
					return response, nil, true
				})
				stored, err := c.commit(ctx)
				want := tt.stored
				if want < 0 {
					want = first
				}
				if stored != want || sent != want*maxWindow || len(c.dirty) != partitions-want {
					t.Errorf("%d partitions stored, %d batches sent, %d partitions dirty; want %d, %d, %d",
						stored, sent, len(c.dirty), want, want*maxWindow, partitions-want)
				}
				if (err == nil) != (want == partitions) || cause != tt.cause {
					t.Errorf("error %v, end cause %q, want %q", err, cause, tt.cause)
				}
				if tt.cause != "" && requests != 2 || requests > 10 {
					t.Errorf("%d requests", requests)
				}
				m.leave(t)
				m.end()
			})
		})
	}
}

// Offsets that do not change are committed again, but not all of them in the same commit.
func TestUnchangedOffsetsAreNotCommittedTogether(t *testing.T) {
	const partitions = 60
	inWorld(t, partitions, func(w *world) {
		var mu sync.Mutex // guards the variables below
		last, most := map[int32]time.Time{}, 0
		w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			all := r.(*kmsg.OffsetCommitRequest).Topics[0].Partitions
			for _, p := range all {
				last[p.Partition] = time.Now()
			}
			most = max(most, len(all))
			return nil, nil, false
		})
		m := w.join(nil)
		time.Sleep(3 * refreshInterval / 2)
		mu.Lock()
		most = 0
		mu.Unlock()
		for range 600 {
			time.Sleep(commitInterval)
			mu.Lock()
			for number := range int32(partitions) {
				if age := time.Since(last[number]); age > refreshInterval+2*commitInterval {
					t.Errorf("the last commit of partition %d is %v old", number, age)
				}
			}
			mu.Unlock()
		}
		mu.Lock()
		if most > 3 {
			t.Errorf("%d of %d partitions committed together", most, partitions)
		}
		mu.Unlock()
		m.leave(t)
	})
}

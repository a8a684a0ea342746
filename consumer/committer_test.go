package consumer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
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

package consumer

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
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

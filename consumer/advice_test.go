package consumer

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestAdviceNamesTheKeyToChange(t *testing.T) {
	timeout := fmt.Errorf("dial: %w", context.DeadlineExceeded)
	for key, advice := range map[string]string{
		"kafka.session_timeout": Advice(kerr.InvalidSessionTimeout),
		"kafka.group":           Advice(kerr.InconsistentGroupProtocol),
		"kafka.instance_id":     Advice(kerr.FencedInstanceID),
		"max.message.bytes":     commitAdvice(kerr.UnknownServerError),
		"Raise max.message":     commitAdvice(kerr.InvalidCommitOffsetSize),
		"offset.metadata.max":   commitAdvice(kerr.OffsetMetadataTooLarge),
		"dead_letters.topic":    DeadLetterAdvice(kerr.UnknownTopicOrPartition),
		"kafka.tls.enabled":     adviceOf(timeout, true),
		"a firewall":            adviceOf(timeout, false),
	} {
		if !strings.Contains(advice, key) {
			t.Errorf("%q does not mention %s", advice, key)
		}
	}
}

func adviceOf(err error, tls bool) string {
	advice, _ := Unreachable(err, tls, "")
	return advice
}

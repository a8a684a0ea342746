package consumer

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// advise returns the text of a broker error, with advice for the operator if the cause is known.
func advise(err error) string {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return err.Error() + " (grant READ and DESCRIBE on the topic)"
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return err.Error() + " (grant READ on the group)"
	case errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.UnreleasedInstanceID):
		return err.Error() + " (another member uses the same kafka.instance_id; set a unique one)"
	case errors.Is(err, kerr.OffsetMetadataTooLarge):
		return err.Error() + " (raise the brokers' offset.metadata.max.bytes to 4096 or more)"
	default:
		return err.Error()
	}
}

// adviseDeadLetter is like advise, for errors about the dead-letter topic.
func adviseDeadLetter(err error) string {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return err.Error() + " (grant WRITE and DESCRIBE on the topic)"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return err.Error() + " (create the topic)"
	case errors.Is(err, kerr.MessageTooLarge):
		return err.Error() + " (raise the topic's max.message.bytes)"
	default:
		return err.Error()
	}
}

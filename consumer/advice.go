package consumer

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// Advice returns advice on a broker's error about a topic or about the group, or "" for any other
// error.
func Advice(err error) string {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "Create the topic or fix kafka.topics."
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return "Grant READ on the topic to this user."
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return "Grant READ on the group to this user, and DESCRIBE if READ does not imply it."
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		return "Some members of the group use a different assignor, such as range. " +
			"Stop these members before you start this program, or set a different kafka.group."
	case errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.UnreleasedInstanceID):
		return "Another member uses the same kafka.instance_id. Set a unique one."
	case errors.Is(err, kerr.InvalidSessionTimeout):
		return "Set kafka.session_timeout to a value within the brokers' limits."
	case errors.Is(err, kerr.OffsetMetadataTooLarge):
		return "Raise the brokers' offset.metadata.max.bytes to 4096 or more."
	}
	return ""
}

// commitAdvice returns advice on a failed offset commit, or "". If a commit's records form too
// large a batch for the offsets topic, Kafka 4 returns UNKNOWN_SERVER_ERROR, and older brokers
// return INVALID_COMMIT_OFFSET_SIZE.
func commitAdvice(err error) string {
	switch {
	case errors.Is(err, kerr.InvalidCommitOffsetSize):
		return "Raise max.message.bytes of the topic __consumer_offsets to 1 MB."
	case errors.Is(err, kerr.UnknownServerError):
		return "Read the log of the group's coordinator. If the log reports a batch that is too large, " +
			"raise max.message.bytes of the topic __consumer_offsets to 1 MB."
	}
	return Advice(err)
}

// DeadLetterAdvice returns advice on a broker's error about the dead-letter topic, or "" for any
// other error.
func DeadLetterAdvice(err error) string {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "Create the topic or fix dead_letters.topic."
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return "Grant WRITE on the topic to this user."
	case errors.Is(err, kerr.MessageTooLarge):
		return "Raise the topic's max.message.bytes."
	}
	return ""
}

// Unreachable describes a failed connection to a broker. The cause is err without the Kafka
// client's own advice. The argument tls reports whether the connection uses TLS, and mechanism is
// the SASL mechanism's name, or "". An error with an Advice method, such as an error from a SASL
// mechanism, provides its own advice.
func Unreachable(err error, tls bool, mechanism string) (advice string, cause error) {
	var advised interface{ Advice() string }
	var eof *kgo.ErrFirstReadEOF
	var rejected *net.OpError
	var hostname x509.HostnameError
	sasl := mechanism != ""
	switch {
	case errors.As(err, &advised):
		return advised.Advice(), err
	case errors.Is(err, kerr.SaslAuthenticationFailed) && mechanism == "AWS_MSK_IAM":
		return "The broker rejected the AWS identity. Grant it kafka-cluster:Connect, DescribeGroup, AlterGroup, " +
			"DescribeTopic, and ReadData, and WriteData for dead letters.", err
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "The broker rejected the credentials. Fix kafka.sasl.", err
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "The broker does not support this SASL mechanism. Fix kafka.sasl.mechanism.", err
	case errors.Is(err, kerr.IllegalSaslState):
		return "The listener does not use SASL. Remove kafka.sasl.mechanism or fix the port.", err
	case errors.As(err, &rejected) && rejected.Op == "remote error":
		return "The broker rejected the TLS handshake. Fix kafka.tls.cert_file and kafka.tls.key_file, " +
			"or use a listener that does not require client certificates.", err
	case errors.As(err, &hostname):
		return "The certificate is for a different name. Fix kafka.brokers or set kafka.tls.server_name.", err
	case errors.As(err, &eof):
		err = errors.New("the broker closed the connection immediately")
		switch {
		case tls && sasl:
			return "The listener does not seem to use TLS. Set kafka.tls.enabled to false or fix the port.", err
		case tls:
			return "The listener might not support TLS, or might require SASL. " +
				"Fix kafka.tls.enabled, kafka.sasl, or the port.", err
		default:
			return "The listener might require TLS or SASL. Set kafka.tls.enabled or kafka.sasl, or fix the port.", err
		}
	case errors.Is(err, io.EOF) && sasl:
		return "The broker closed the connection, probably because it rejected the credentials. Fix kafka.sasl. " +
			"If the listener does not use SASL, fix the port.", err
	}
	other := "Fix the address in kafka.brokers."
	if tls && errors.Is(err, context.DeadlineExceeded) {
		return "The TLS handshake did not complete in time. If the listener does not use TLS, " +
			"set kafka.tls.enabled to false or fix the port. Otherwise, check the network.", err
	}
	if !tls {
		other = "Fix the address in kafka.brokers, or set kafka.tls.enabled if the listener requires TLS."
	}
	return cmp.Or(sink.NetworkAdvice(err, "kafka.brokers", "kafka.tls.ca_file"), other), err
}

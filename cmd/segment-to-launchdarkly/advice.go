package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// brokerAdvice says what to do about a connection to a broker that failed.
func brokerAdvice(err error, cfg *config.Config) string {
	var eof *kgo.ErrFirstReadEOF
	var refused *net.OpError
	var hostname x509.HostnameError
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "The broker refuses the credentials: correct kafka.sasl."
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "The broker does not take this mechanism: correct kafka.sasl.mechanism."
	case errors.As(err, &refused) && refused.Op == "remote error":
		return "The broker refuses our side of TLS: correct kafka.tls.cert_file and key_file, or use a listener that takes no client certificates."
	case errors.As(err, &hostname):
		return "The certificate is for another name: correct kafka.brokers, or set kafka.tls.server_name."
	case errors.As(err, &eof) && cfg.Kafka.TLS.Enabled:
		return "This listener may not speak TLS, or may want SASL: correct kafka.tls.enabled and kafka.sasl, or the port."
	case errors.As(err, &eof):
		return "This listener may want TLS or SASL: set kafka.tls.enabled or kafka.sasl, or correct the port."
	case errors.Is(err, io.EOF) && cfg.Kafka.SASL.Mechanism != "":
		return "The broker closed the connection, most likely because it refuses the credentials: correct kafka.sasl."
	}
	return cmp.Or(networkAdvice(err, "kafka.brokers", "kafka.tls.ca_file"),
		"Correct the address in kafka.brokers, or whether it wants TLS: kafka.tls.enabled.")
}

// networkAdvice says what to do about a connection that failed, "" if it does not know. key is where the address is set,
// authorities what decides which certificates are trusted.
func networkAdvice(err error, key, authorities string) string {
	var (
		noName    *net.DNSError
		unknown   x509.UnknownAuthorityError
		hostname  x509.HostnameError
		untrusted *tls.CertificateVerificationError
		notTLS    tls.RecordHeaderError
		slow      net.Error
	)
	switch {
	case errors.As(err, &noName):
		return "The name cannot be resolved: correct " + key + ", or this machine's DNS."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens there: correct " + key + ", or start what should listen."
	case errors.As(err, &unknown):
		return "The certificate is from an authority that is not trusted: correct " + authorities + "."
	case errors.As(err, &hostname):
		return "The certificate is for another name: correct " + key + "."
	case errors.As(err, &untrusted):
		return "The certificate is not accepted: renew it, or correct " + authorities + "."
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		return "It does not speak TLS there: correct the port or the scheme."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return "No answer came in time: look for a firewall, a proxy or a network policy in between."
	}
	return ""
}

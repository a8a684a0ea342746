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

// brokerAdvice returns advice on a failed connection to a broker.
func brokerAdvice(err error, cfg *config.Config) string {
	var eof *kgo.ErrFirstReadEOF
	var refused *net.OpError
	var hostname x509.HostnameError
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "The broker rejected the credentials. Fix kafka.sasl."
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "The broker does not support this SASL mechanism. Fix kafka.sasl.mechanism."
	case errors.As(err, &refused) && refused.Op == "remote error":
		return "The broker rejected the TLS handshake. Fix kafka.tls.cert_file and kafka.tls.key_file, " +
			"or use a listener that does not require client certificates."
	case errors.As(err, &hostname):
		return "The certificate is for a different name. Fix kafka.brokers or set kafka.tls.server_name."
	case errors.As(err, &eof) && cfg.Kafka.TLS.Enabled:
		return "The listener might not support TLS, or might require SASL. " +
			"Fix kafka.tls.enabled, kafka.sasl, or the port."
	case errors.As(err, &eof):
		return "The listener might require TLS or SASL. Set kafka.tls.enabled or kafka.sasl, or fix the port."
	case errors.Is(err, io.EOF) && cfg.Kafka.SASL.Mechanism != "":
		return "The broker closed the connection, probably because it rejected the credentials. Fix kafka.sasl."
	}
	return cmp.Or(networkAdvice(err, "kafka.brokers", "kafka.tls.ca_file"),
		"Fix the address in kafka.brokers, or set kafka.tls.enabled if the listener requires TLS.")
}

// networkAdvice returns advice on a failed connection, or "" for an unknown error. key is the
// configuration key that contains the address. authorities names the source of the trusted
// certificates.
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
		return "The host name cannot be resolved. Fix " + key + " or this host's DNS settings."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing is listening on this address. Fix " + key + " or start the server."
	case errors.As(err, &unknown):
		return "The certificate is not signed by a trusted authority. Fix " + authorities + "."
	case errors.As(err, &hostname):
		return "The certificate is for a different name. Fix " + key + "."
	case errors.As(err, &untrusted):
		return "The certificate is invalid. Renew it or fix " + authorities + "."
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		return "The server does not use TLS on this port. Fix the port or the scheme."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return "The server did not respond in time. " +
			"Check whether a firewall, a proxy, or a network policy blocks the connection."
	}
	return ""
}

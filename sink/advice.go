package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"syscall"
)

// Advice returns advice on a failed connection to LaunchDarkly, or "" for an unknown error.
func Advice(err error) string {
	return NetworkAdvice(err, "launchdarkly.events_url",
		"launchdarkly.ca_file or the CA certificates trusted by this host")
}

// NetworkAdvice returns advice on a failed connection, or "" for an unknown error. key is the
// configuration key that contains the address. authorities names the source of the trusted
// certificates.
func NetworkAdvice(err error, key, authorities string) string {
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
		return timeoutAdvice
	}
	return ""
}

const (
	timeoutAdvice = "The server did not respond in time. " +
		"Check whether a firewall, a proxy, or a network policy blocks the connection."
	redirectAdvice = "Redirects are never followed. Set launchdarkly.events_url to an address that does not redirect."
	rejectedAdvice = "Check launchdarkly.events_url and the credentials."
)

// RedirectTarget returns the host and the path of a redirect's target, or "" if the response is not
// a redirect. It omits the user name, the password, and the query, which can be secret.
func RedirectTarget(resp *http.Response) string {
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return ""
	}
	target, err := resp.Location()
	if err != nil {
		return "" // no target, or an invalid one
	}
	return excerpt(target.Host + target.EscapedPath())
}

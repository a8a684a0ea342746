package config

import (
	"crypto/x509"
	"strings"
)

// ReadHeaders returns the additional request headers. It reads the files on each call, so that
// rotated values take effect.
func (ld LaunchDarkly) ReadHeaders() (map[string]string, error) {
	headers := make(map[string]string, len(ld.Headers)+len(ld.HeaderFiles))
	for name, value := range ld.Headers {
		headers[name] = value.Value
	}
	for name, file := range ld.HeaderFiles {
		value, err := Secret{File: file}.Read()
		if err != nil {
			return nil, err
		}
		headers[name] = value
	}
	return headers, nil
}

// RootCAs returns the certificate authorities in ca_file, or nil if it is not set. The error is a
// [Problem].
func (ld LaunchDarkly) RootCAs() (*x509.CertPool, error) {
	if ld.CAFile == "" {
		return nil, nil
	}
	return certPool("launchdarkly.ca_file", ld.CAFile)
}

// setsItself reports whether the program or Go's HTTP client sets a request header.
func setsItself(header string) bool {
	switch header = strings.ToLower(header); header {
	case "host", "user-agent", "connection", "transfer-encoding", "content-type", "content-encoding",
		"content-length", "accept-encoding":
		return true
	}
	return strings.HasPrefix(header, "x-launchdarkly-")
}

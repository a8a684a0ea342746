package config

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
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

// RESTURL returns the base URL of LaunchDarkly's REST API: api_url or, if it is not set, the one
// that belongs to events_url. It returns "" if events_url is not one of LaunchDarkly's.
func (ld LaunchDarkly) RESTURL() string {
	u, err := url.Parse(ld.EventsURL)
	switch {
	case ld.APIURL != "":
		return ld.APIURL
	case err != nil:
		return ""
	}
	switch u.Hostname() {
	case "events.launchdarkly.com":
		return "https://app.launchdarkly.com"
	case "events.eu.launchdarkly.com":
		return "https://app.eu.launchdarkly.com"
	case "events.launchdarkly.us":
		return "https://app.launchdarkly.us"
	}
	return ""
}

// API returns a client of LaunchDarkly's REST API for one command. version is the program's
// version. The error has type [Problems] and names the keys to set.
func (c *Config) API(version string) (*ldapi.Client, error) {
	ld := c.LaunchDarkly
	var problems Problems
	require := func(ok bool, path, rule string) {
		if !ok {
			problems = append(problems, Problem{Key: path, Rule: rule, Origin: c.origins[path]})
		}
	}
	require(ld.APIToken.IsSet(), "launchdarkly.api_token", "must be set, inline or by api_token_file")
	require(ld.ProjectKey != "", "launchdarkly.project_key", "must be set")
	require(ld.RESTURL() != "", "launchdarkly.api_url",
		"must be set, because events_url is not one of LaunchDarkly's")
	if ld.APIToken.File != "" {
		content, rule := readFile(ld.APIToken.File)
		if rule == "" {
			rule = tokenProblem(content)
		}
		require(rule == "", "launchdarkly.api_token_file", rule)
	}
	roots, err := ld.apiRootCAs()
	if p, ok := errors.AsType[Problem](err); ok {
		require(false, p.Key, p.Rule)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return ldapi.New(ldapi.Config{
		URL: ld.RESTURL(), Token: ld.APIToken.Read, Version: version, RootCAs: roots,
	}), nil
}

// apiRootCAs returns the system's certificate authorities and those in ca_file, or nil if ca_file is
// not set. A gateway in front of events_url need not be in front of api_url. The error is a
// [Problem].
func (ld LaunchDarkly) apiRootCAs() (*x509.CertPool, error) {
	if ld.CAFile == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	return appendCerts(pool, "launchdarkly.ca_file", ld.CAFile)
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

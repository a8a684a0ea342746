package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/sink"
)

const (
	standardHost = "events.launchdarkly.com"
	// According to LaunchDarkly's SDK contributor guide, the status is 200 for an existing
	// client-side ID and 404 for any other.
	goalsURL = "https://clientsdk.launchdarkly.com/sdk/goals/"

	clientSideIDAdvice = "Copy the client-side ID of the environment from LaunchDarkly's account settings. " +
		"Do not use the SDK key or the mobile key."
)

// checkLaunchDarkly checks that the events URL responds, regardless of the status, and is not a
// LaunchDarkly Relay Proxy. If possible, it also checks that the client-side ID exists.
func (c *checks) checkLaunchDarkly(cfg *config.Config, transport http.RoundTripper) {
	ld := cfg.LaunchDarkly
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	headers, err := ld.ReadHeaders()
	if err != nil {
		c.fail("launchdarkly.header_files", err, "")
		return
	}
	code, target, err := fetchStatus(client, http.MethodGet, ld.EventsURL, headers)
	if err != nil {
		c.fail("launchdarkly.events_url "+ld.EventsURL, err, eventsURLAdvice(err))
		return
	}
	if isRelayProxy(client, ld.EventsURL, headers) {
		c.fail("launchdarkly.events_url "+ld.EventsURL, errors.New("is a LaunchDarkly Relay Proxy"),
			"A Relay Proxy accepts all events and forwards only some of them. Use the address of LaunchDarkly itself.")
		return
	}
	returned := fmt.Sprintf("GET returned %d", code)
	if target != "" {
		returned += ", a redirect to " + target
	}
	c.pass("launchdarkly.events_url "+ld.EventsURL, "reachable ("+returned+")")

	if ld.Endpoint == "metric_import" {
		c.skip("launchdarkly.access_token", "cannot be checked before the first event")
		return
	}
	subject := "launchdarkly.client_side_id " + ld.ClientSideID
	if u, err := url.Parse(ld.EventsURL); err != nil || u.Hostname() != standardHost {
		c.skip(subject, "can be checked only for "+standardHost)
		return
	}
	switch code, _, err := fetchStatus(client, http.MethodHead, goalsURL+ld.ClientSideID, nil); {
	case err != nil:
		c.skip(subject, "cannot be checked: "+err.Error())
	case code == http.StatusOK:
		c.pass(subject, "exists in LaunchDarkly")
	case code == http.StatusNotFound:
		c.fail(subject, errors.New("does not exist in LaunchDarkly"), clientSideIDAdvice)
	default:
		c.skip(subject, fmt.Sprintf("cannot be checked: status %d", code))
	}
}

// eventsURLAdvice returns advice on a failed connection to LaunchDarkly.
func eventsURLAdvice(err error) string {
	return cmp.Or(sink.Advice(err), "Fix launchdarkly.events_url or the network between this host and LaunchDarkly.")
}

// isRelayProxy reports whether the server at an address has the status page of LaunchDarkly's Relay
// Proxy.
func isRelayProxy(client *http.Client, address string, headers map[string]string) bool {
	ctx, cancel := checkContext()
	defer cancel()
	req, err := newRequest(ctx, http.MethodGet, address+"/status", headers)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var status struct {
		Environments map[string]any `json:"environments"`
		Version      string         `json:"version"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&status)
	return err == nil && status.Environments != nil && status.Version != ""
}

// transportTo returns a transport that trusts the configured certificate authorities.
func transportTo(cfg *config.Config) (http.RoundTripper, error) {
	roots, err := cfg.LaunchDarkly.RootCAs()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return transport, err
}

func newRequest(ctx context.Context, method, address string, headers map[string]string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return req, nil
}

// fetchStatus sends a request and returns the response status and the target of a redirect.
func fetchStatus(client *http.Client, method, address string, headers map[string]string) (
	code int, target string, err error,
) {
	ctx, cancel := checkContext()
	defer cancel()
	req, err := newRequest(ctx, method, address, headers)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the output line already contains the URL
		}
		return 0, "", err
	}
	_ = resp.Body.Close() // only the status and the headers are needed
	return resp.StatusCode, sink.RedirectTarget(resp), nil
}

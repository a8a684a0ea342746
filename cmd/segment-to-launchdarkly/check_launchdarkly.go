package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

const (
	standardHost = "events.launchdarkly.com"
	// From LaunchDarkly's SDK contributor guide: 200 for a client-side ID that exists, 404 for another.
	goalsURL = "https://clientsdk.launchdarkly.com/sdk/goals/"
)

// launchDarkly checks that the address answers, whatever it answers, and the client-side ID where that is possible.
func (c *checks) launchDarkly(cfg *config.Config, transport http.RoundTripper) {
	ld := cfg.LaunchDarkly
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	code, err := status(client, http.MethodGet, ld.EventsURL)
	if err != nil {
		advice := networkAdvice(err, "launchdarkly.events_url", "the authorities that this machine trusts")
		c.fail("launchdarkly.events_url "+ld.EventsURL, err, cmp.Or(advice, "Correct launchdarkly.events_url, or look at the network in between."))
		return
	}
	c.ok("launchdarkly.events_url "+ld.EventsURL, fmt.Sprintf("reached (it answers an empty GET with %d)", code))

	if ld.Endpoint == "metric_import" {
		c.skip("launchdarkly.access_token", "whether LaunchDarkly takes it shows with the first event")
		return
	}
	subject := "launchdarkly.client_side_id " + ld.ClientSideID
	if u, err := url.Parse(ld.EventsURL); err != nil || u.Hostname() != standardHost {
		c.skip(subject, "only "+standardHost+" can tell whether it is known; the first event shows")
		return
	}
	switch code, err := status(client, http.MethodHead, goalsURL+ld.ClientSideID); {
	case err != nil:
		c.skip(subject, "whether it is known could not be asked: "+err.Error())
	case code == http.StatusOK:
		c.ok(subject, "known to LaunchDarkly")
	case code == http.StatusNotFound:
		c.fail(subject, errors.New("not known to LaunchDarkly"),
			"Copy the client-side ID of the environment from LaunchDarkly's account settings. It is neither the SDK key nor the mobile key.")
	default:
		c.skip(subject, fmt.Sprintf("whether it is known could not be asked (status %d)", code))
	}
}

// status makes one request and returns the answer's status.
func status(client *http.Client, method, address string) (int, error) {
	ctx, cancel := timeout()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the check's line names the address already
		}
		return 0, err
	}
	_ = resp.Body.Close() // only the status counts
	return resp.StatusCode, nil
}

package config

import (
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minSessionTimeout is the brokers' default for group.min.session.timeout.ms.
const minSessionTimeout = 6 * time.Second

// Warnings returns the keys that have no effect or are probably wrong. The program can run with
// them.
func (c *Config) Warnings() (warnings Problems) {
	warn := func(path, rule string) {
		warnings = append(warnings, Problem{Key: path, Rule: rule, Origin: c.origins[path]})
	}
	keys, unset := fields(c), fields(defaults())
	ignored := func(when string, paths ...string) {
		for i, f := range keys {
			if slices.Contains(paths, f.path) && text(f.v) != text(unset[i].v) {
				warn(f.path, "has no effect "+when)
			}
		}
	}
	k, ld := c.Kafka, c.LaunchDarkly
	switch {
	case k.RebalanceProtocol == "consumer":
		ignored("with the consumer protocol", "kafka.session_timeout")
	case k.SessionTimeout < minSessionTimeout:
		warn("kafka.session_timeout", "is below "+durationText(minSessionTimeout)+", the default minimum of brokers; "+
			"unless their group.min.session.timeout.ms is lower, the replica can never join the group")
	}
	// The other mechanisms do not send the secret itself, or require TLS.
	sendsSecret := k.SASL.Mechanism == "PLAIN" || k.SASL.Mechanism == "OAUTHBEARER"
	remote := func(broker string) bool { return isPlain("http://" + broker) }
	if sendsSecret && !k.TLS.Enabled && slices.ContainsFunc(k.Brokers, remote) {
		warn("kafka.tls.enabled", "is false, so the password or the token is sent to the brokers unencrypted")
	}
	if ld.EventSchema == 3 {
		ignored("for event_schema 3", "launchdarkly.contexts")
	}
	for _, condition := range c.Segment.Only {
		if t := condition.Topic; t != "" && !c.DeadLetters.Redrive && len(k.Topics) > 0 && !slices.Contains(k.Topics, t) {
			warn("segment.only", "filters out every call, because kafka.topics does not contain "+t)
		}
	}
	if len(c.Segment.Consent.Categories) == 0 {
		ignored("without segment.consent.categories", "segment.consent.match", "segment.consent.missing")
	}
	switch ld.Endpoint {
	case "client_side":
		ignored("for endpoint client_side", "launchdarkly.access_token", "launchdarkly.access_token_file")
		if !ld.APIToken.IsSet() {
			ignored("for endpoint client_side unless launchdarkly.api_token is set", "launchdarkly.project_key",
				"launchdarkly.environment_key")
		}
	case "metric_import":
		ignored("for endpoint metric_import", "launchdarkly.client_side_id")
		if isPlain(ld.EventsURL) {
			warn("launchdarkly.events_url", "sends the access token unencrypted; use https")
		}
	}
	if !ld.APIToken.IsSet() {
		ignored("unless launchdarkly.api_token is set", "launchdarkly.api_url")
	} else if isPlain(ld.APIURL) {
		warn("launchdarkly.api_url", "sends the access token unencrypted; use https")
	}
	if isPlain(ld.EventsURL) && len(ld.Headers)+len(ld.HeaderFiles) > 0 {
		warn("launchdarkly.events_url", "sends the values of launchdarkly.headers unencrypted; use https")
	}
	for _, f := range keys {
		list, _ := reflect.TypeAssert[[]string](f.v)
		for i, s := range list {
			if slices.Contains(list[:i], s) {
				warn(f.path, "contains "+strconv.Quote(s)+" more than once")
				break
			}
		}
	}
	return warnings
}

// isPlain reports whether an address uses http and is not on this host.
func isPlain(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	return !net.ParseIP(u.Hostname()).IsLoopback()
}

// tokenProblem returns the rule that a token breaks, or "".
func tokenProblem(token string) string {
	switch token = strings.TrimRight(token, "\r\n"); {
	case len(token) >= 7 && strings.EqualFold(token[:7], "bearer "):
		return `must be the token alone, without "Bearer"`
	case strings.ContainsAny(token, "\r\n"):
		return "must be a single line"
	}
	return ""
}

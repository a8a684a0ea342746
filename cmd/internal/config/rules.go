package config

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A rule says which texts are legal. The pattern, an ECMA regular expression too, stands in the JSON schema.
type rule struct {
	must    string
	pattern *regexp.Regexp
	also    func(s string) bool // what the pattern cannot say; nil: nothing
}

func (r rule) holds(s string) bool {
	return (r.pattern == nil || r.pattern.MatchString(s)) && (r.also == nil || r.also(s))
}

// rules, by the name in a field's rule tag. A text that may be empty is not asked when it is.
var rules = map[string]rule{
	"integration": {
		must:    "must be a name, and not All, which stands for every integration",
		pattern: regexp.MustCompile(`\S`),
		also:    func(s string) bool { return !strings.EqualFold(s, "all") },
	},
	"path": {must: "must be names joined by single dots, such as properties.value", pattern: regexp.MustCompile(`^[^.]+(\.[^.]+)*$`)},
	// Topic.validate in Kafka's clients, which instance IDs have to pass as well.
	"topic": {
		must:    "must be 1 to 249 letters, digits, '.', '_' or '-'",
		pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`),
		also:    func(s string) bool { return s != "." && s != ".." },
	},
	// Kafka takes any text as a group; one that is to be taken over may well have a colon or a slash.
	"group":  {must: "must be 1 to 249 visible characters", pattern: regexp.MustCompile(`^[!-~]{1,249}$`)},
	"broker": {must: "must be host:port", pattern: regexp.MustCompile(`^.+:[0-9]+$`), also: func(s string) bool { return hostPort(s, 1) }},
	"listen": {must: "must be host:port or :port", pattern: regexp.MustCompile(`:[0-9]+$`), also: func(s string) bool { return hostPort(s, 0) }},
	"start": {
		must:    "must be earliest, latest, or a time such as 2026-01-31T00:00:00Z",
		pattern: regexp.MustCompile(`^(earliest|latest|[0-9]{4}-.*)$`),
		also: func(s string) bool {
			_, err := time.Parse(time.RFC3339, s)
			return err == nil || s == "earliest" || s == "latest"
		},
	},
	"url": {
		must:    "must be http:// or https:// and a host, without user, path, query or trailing slash",
		pattern: regexp.MustCompile(`^https?://[^/?#@]+$`),
		also: func(s string) bool {
			u, err := url.Parse(s)
			return err == nil && u.Hostname() != ""
		},
	},
	"id": {
		must:    "must be letters and digits only, as LaunchDarkly's account settings show the client-side ID",
		pattern: regexp.MustCompile(`^[A-Za-z0-9]+$`),
	},
	"key": {must: "must be letters, digits, '.', '_' or '-'", pattern: regexp.MustCompile(`^[A-Za-z0-9._-]+$`)},
	// LaunchDarkly's rule for context kinds.
	"kind": {
		must:    "each kind must be letters, digits, '.', '_' or '-', and neither kind nor multi",
		pattern: regexp.MustCompile(`^[A-Za-z0-9._-]+$`),
		also:    func(s string) bool { return s != "kind" && s != "multi" },
	},
	"file": {}, // names a file, which [Load] opens
}

func hostPort(s string, lowest uint64) bool {
	host, port, err := net.SplitHostPort(s)
	n, errPort := strconv.ParseUint(port, 10, 16)
	return err == nil && errPort == nil && n >= lowest && !strings.ContainsAny(host, " /@")
}

package config

import (
	"cmp"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule validates a string. The pattern must also be a valid ECMAScript regular expression, because
// the JSON schema contains it.
type rule struct {
	must    string                // error text
	hint    func(s string) string // addition to the error text; nil if there is none
	pattern *regexp.Regexp
	also    func(s string) bool // additional condition; nil if there is none
}

// holds reports whether s satisfies the rule.
func (r rule) holds(s string) bool {
	return (r.pattern == nil || r.pattern.MatchString(s)) && (r.also == nil || r.also(s))
}

// extensionValue matches the values of SASL extensions. RFC 7628 also allows an empty value, which
// Apache Kafka rejects.
var extensionValue = regexp.MustCompile(`^[!-~ \t\r\n]+$`)

// hintCamelCase suggests the name without underscores, such as identityPoolId for identity_pool_id.
func hintCamelCase(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == '_' || r == '-' || r == '.' })
	if len(words) < 2 {
		return ""
	}
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return " (did you mean " + strings.Join(words, "") + "?)"
}

// rules maps the names used in rule tags to the rules. An empty string in an optional key is not
// checked.
var rules = map[string]rule{
	"integration": {
		must:    "must be an integration name other than All",
		pattern: regexp.MustCompile(`\S`),
		also:    func(s string) bool { return !strings.EqualFold(s, "all") },
	},
	"path": {
		must:    "must be a dotted path, such as properties.value",
		pattern: regexp.MustCompile(`^[^.]+(\.[^.]+)*$`),
	},
	"name": {must: "must not contain an empty name", pattern: regexp.MustCompile(`.`)},
	"time": {
		must:    "must be a time such as 2026-01-31T00:00:00Z",
		pattern: regexp.MustCompile(`^[0-9]{4}-.*$`),
		also: func(s string) bool {
			_, err := time.Parse(time.RFC3339, s)
			return err == nil
		},
	},
	// Apache Kafka's client checks topics and instance IDs in the same way (Topic.validate).
	"topic": {
		must:    "must be 1 to 249 characters: letters, digits, '.', '_', and '-'",
		pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`),
		also:    func(s string) bool { return s != "." && s != ".." },
	},
	// Kafka accepts any group ID, and existing group IDs can contain a colon or a slash.
	"group": {must: "must be 1 to 249 visible ASCII characters", pattern: regexp.MustCompile(`^[!-~]{1,249}$`)},
	"broker": {
		must:    "must be host:port",
		pattern: regexp.MustCompile(`^.+:[0-9]+$`),
		also:    func(s string) bool { return isHostPort(s, 1) },
	},
	"listen": {
		must:    "must be host:port or :port",
		pattern: regexp.MustCompile(`:[0-9]+$`),
		also:    func(s string) bool { return isHostPort(s, 0) },
	},
	"start": {
		must:    "must be earliest, latest, or a time such as 2026-01-31T00:00:00Z",
		pattern: regexp.MustCompile(`^(earliest|latest|[0-9]{4}-.*)$`),
		also: func(s string) bool {
			_, err := time.Parse(time.RFC3339, s)
			return err == nil || s == "earliest" || s == "latest"
		},
	},
	"url":     baseURL("https://events.launchdarkly.com"),
	"api_url": baseURL("https://app.launchdarkly.com"),
	"id": {
		must: "must be the client-side ID from the environment's settings in LaunchDarkly, which contains only letters " +
			"and digits; SDK keys (sdk-), mobile keys (mob-), and access tokens (api-) are not client-side IDs",
		pattern: regexp.MustCompile(`^[A-Za-z0-9]+$`),
	},
	"key": {
		must:    "must contain only letters, digits, '.', '_', and '-'",
		pattern: regexp.MustCompile(`^[A-Za-z0-9._-]+$`),
	},
	// LaunchDarkly has the same rule for context kinds.
	"kind": {
		must:    "each kind must contain only letters, digits, '.', '_', and '-', and must be neither 'kind' nor 'multi'",
		pattern: regexp.MustCompile(`^[A-Za-z0-9._-]+$`),
		also:    func(s string) bool { return s != "kind" && s != "multi" },
	},
	// Apache Kafka has the same rule (KIP-342).
	"extension": {
		must:    "each name must contain only letters and must not be 'auth'",
		hint:    hintCamelCase,
		pattern: regexp.MustCompile(`^[A-Za-z]+$`),
		also:    func(s string) bool { return s != "auth" },
	},
	"token_url": {
		must:    "must be an https URL without credentials, or an http URL with a loopback address",
		pattern: regexp.MustCompile(`^https?://[^/?#@]+([/?][^#]*)?$`),
		also: func(s string) bool {
			u, err := url.Parse(s)
			return err == nil && u.Hostname() != "" && !isPlain(s)
		},
	},
	"scope": {
		must:    "each scope must contain only visible ASCII characters other than quotes and backslashes",
		pattern: regexp.MustCompile(`^[!#-\[\]-~]+$`),
	},
	"parameter": {
		must: "must not contain an empty name or the name of a parameter that other keys determine " +
			"(client_id, client_secret, client_assertion, client_assertion_type, grant_type, and scope)",
		pattern: regexp.MustCompile(`.`),
		also: func(s string) bool {
			return !slices.Contains([]string{
				"client_id", "client_secret", "client_assertion", "client_assertion_type", "grant_type", "scope",
			}, s)
		},
	},
	"header": {
		must: "each name must be a valid header name other than Host, User-Agent, X-LaunchDarkly-..., and the names " +
			"that describe the connection or the content",
		pattern: regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
		also:    func(s string) bool { return !setsItself(s) },
	},
	"region": {
		must:    "must be an AWS region, such as eu-west-1",
		pattern: regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+-[0-9]+$`),
	},
	"role": {
		must:    "must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/forwarder",
		pattern: regexp.MustCompile(`^arn:aws[a-z0-9-]*:iam::[0-9]{12}:role/[^ ]+$`),
	},
	// STS has the same rules for external IDs and session names.
	"external_id": {
		must:    "must be 2 to 1224 characters: letters, digits, and any of _+=,.@:/-",
		pattern: regexp.MustCompile(`^[A-Za-z0-9_+=,.@:/-]{2,}$`),
		also:    func(s string) bool { return len(s) <= 1224 },
	},
	"session_name": {
		must:    "must be 2 to 64 characters: letters, digits, and any of _+=,.@-",
		pattern: regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`),
	},
	"file": {}, // path of a file, which validateFiles reads
}

// baseURL returns the rule for a URL without a path.
func baseURL(example string) rule {
	return rule{
		must:    "must have only a scheme, a host, and optionally a port, such as " + example,
		pattern: regexp.MustCompile(`^https?://[^/?#@]+$`),
		also: func(s string) bool {
			u, err := url.Parse(s)
			if err != nil || u.Hostname() == "" {
				return false
			}
			_, err = strconv.ParseUint(cmp.Or(u.Port(), "443"), 10, 16)
			return err == nil
		},
	}
}

// isHostPort reports whether s is host:port with a port of at least lowest. The host can be empty.
func isHostPort(s string, lowest uint64) bool {
	host, port, err := net.SplitHostPort(s)
	n, errPort := strconv.ParseUint(port, 10, 16)
	return err == nil && errPort == nil && n >= lowest && !strings.ContainsAny(host, " /@")
}

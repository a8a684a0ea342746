package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Each case breaks a rule. The golden file holds what is reported, in full.
var problemCases = []struct {
	name string
	yaml string   // the file; "" for none
	env  []string // besides enough
	bare bool     // without enough
}{
	{name: "nothing is set", bare: true},
	{name: "nothing is set for metric_import", bare: true, env: []string{"S2LD_LAUNCHDARKLY_ENDPOINT=metric_import"}},
	{name: "all at once, from file and environment", bare: true, env: []string{"S2LD_KAFKA_BROKERS=k", "S2LD_BATCH_MAX_EVENT=1", "S2LD_BATCH_GZIP=maybe"},
		yaml: "kafka:\n  topic: segment\n  start_at: yesterday\nlaunchdarkly:\n  client_side_id: a-b\nbatch: {max_events: 0}\n"},

	{name: "unknown keys", yaml: "kafka: {broker: [a:1], sasl: {pasword: hunter2}}\nclientSideId: abc\nlog: {levle: info}\nbatchs: {max_age: 1s}\nlisten: 1\n"},
	{name: "unknown variables", env: []string{"S2LD_KAFKA_BROKER=a:1", "S2LD_ACCESS_TOKEN=hunter2", "S2LD_KAFKA=x"}},
	{name: "a key twice", yaml: "log:\n  level: info\n  level: warn\n"},
	{name: "sections that are none", yaml: "kafka: [a]\nbatch: 5\n"},
	{name: "a file that is a list", yaml: "- kafka\n"},
	{name: "a section where a value belongs", yaml: "log: {level: {is: info}}\nbatch: {max_events: [1]}\n"},
	{name: "lists that are none", yaml: "kafka: {topics: {a: b}}\nlaunchdarkly: {metric_value: [[a]], contexts: [user]}\n"},
	{name: "contexts that are none", yaml: "launchdarkly: {contexts: {user: {a: b}}}\n"},
	{name: "contexts in variables", env: []string{"S2LD_LAUNCHDARKLY_CONTEXTS=user"}},
	{name: "contexts in JSON", env: []string{`S2LD_LAUNCHDARKLY_CONTEXTS={"user"`, `S2LD_KAFKA_TOPICS=["a`}},
	{name: "a kind twice", yaml: "launchdarkly:\n  contexts:\n    user: [userId]\n    user: [anonymousId]\n"},
	{name: "a kind twice in a variable", env: []string{"S2LD_LAUNCHDARKLY_CONTEXTS=user=a;user=b"}},

	{name: "types", env: []string{"S2LD_BATCH_MAX_EVENTS=1.5", "S2LD_BATCH_MAX_BYTES=1 bushel", "S2LD_BATCH_MAX_AGE=5", "S2LD_BATCH_GZIP=yes"}},
	{name: "empty variables", env: []string{"S2LD_BATCH_MAX_EVENTS=", "S2LD_BATCH_MAX_BYTES=", "S2LD_BATCH_MAX_AGE=", "S2LD_BATCH_GZIP=", "S2LD_KAFKA_GROUP=", "S2LD_LOG_LEVEL="}},
	{name: "sizes that overflow", env: []string{"S2LD_BATCH_MAX_BYTES=9999999999GiB", "S2LD_DELIVERY_MAX_BUFFERED=-1"}},
	{name: "enumerations", yaml: "kafka: {rebalance_protocol: eager, sasl: {mechanism: GSSAPI}}\nlaunchdarkly: {endpoint: server_side, event_schema: 5}\nlog: {level: loud, format: xml}\n"},
	{name: "too small", yaml: "kafka: {session_timeout: 100ms}\nbatch: {max_events: 0, max_bytes: 1000, max_age: 1ms}\ndelivery: {max_in_flight: 0, max_buffered: 1kB, timeout: 1ms, backoff_min: 0s, drain_timeout: -1s}\n"},
	{name: "too large", yaml: "kafka: {session_timeout: 1h}\nbatch: {max_bytes: 10MB, max_age: 1h}\ndelivery: {max_in_flight: 2000, timeout: 1h, backoff_max: 2h}\n"},
	{name: "addresses of brokers", bare: true, yaml: "kafka: {brokers: ['k:9092', 'k:0', 'k:99999'], topics: [a b]}\n"},
	{name: "names", yaml: "kafka: {group: 'a b', start_at: 2026-01-31, instance_id: 'a/b'}\ndead_letters: {topic: '..'}\nadmin: {listen: '9464'}\n"},
	{name: "an empty element", env: []string{"S2LD_KAFKA_TOPICS=a,,b", "S2LD_SEGMENT_INTEGRATION_NAMES=A,"}},
	{name: "addresses", env: []string{"S2LD_LAUNCHDARKLY_EVENTS_URL=https://events.launchdarkly.com/", "S2LD_ADMIN_LISTEN=:http"}},
	{name: "an address with a user", env: []string{"S2LD_LAUNCHDARKLY_EVENTS_URL=https://user:hunter2@events.launchdarkly.com"}},
	{name: "an address without scheme", env: []string{"S2LD_LAUNCHDARKLY_EVENTS_URL=events.launchdarkly.com"}},
	{name: "a credential as client-side ID", env: []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=sdk-hunter2"}},
	{name: "the mapping", yaml: "segment: {integration_names: [all]}\nlaunchdarkly: {metric_value: [properties..value]}\n"},
	{name: "kinds", yaml: "launchdarkly: {contexts: {multi: [userId]}}\n"},
	{name: "a kind without fields", yaml: "launchdarkly: {contexts: {user: []}}\n"},
	{name: "a kind with a bad field", yaml: "launchdarkly: {contexts: {user: [.userId]}}\n"},
	{name: "no kinds", yaml: "launchdarkly: {event_schema: 4, contexts: {}}\n"},

	{name: "client_side without its ID", env: []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID="}},
	{name: "metric_import alone", yaml: "launchdarkly: {endpoint: metric_import}\n"},
	{name: "the dead letters' topic among the topics", yaml: "dead_letters: {topic: segment}\n"},
	{name: "TLS files without TLS", yaml: "kafka: {tls: {ca_file: a, cert_file: b, key_file: c, server_name: d}}\n"},
	{name: "a certificate without its key", yaml: "kafka: {tls: {enabled: true, cert_file: /nowhere/cert.pem}}\n"},
	{name: "a key without its certificate", yaml: "kafka: {tls: {enabled: true, key_file: /nowhere/key.pem}}\n"},
	{name: "files that are not certificates", yaml: "kafka: {tls: {enabled: true, ca_file: doc.go}}\n"},
	{name: "files that are no key pair", yaml: "kafka: {tls: {enabled: true, cert_file: doc.go, key_file: doc.go}}\n"},
	{name: "a file that is empty", yaml: "kafka: {sasl: {mechanism: PLAIN, username: u, password_file: /dev/null}}\n"},
	{name: "PLAIN alone", yaml: "kafka: {sasl: {mechanism: plain}}\n"},
	{name: "AWS_MSK_IAM without TLS", yaml: "kafka: {sasl: {mechanism: aws_msk_iam}}\n"},
	{name: "a broker's address with a user", bare: true, env: []string{"S2LD_KAFKA_BROKERS=user:hunter2@k:9092,k2:9092"}},
	{name: "OAUTHBEARER alone", yaml: "kafka: {sasl: {mechanism: oauthbearer}}\n"},
	{name: "credentials without mechanism", yaml: "kafka: {sasl: {username: u, password: hunter2}}\n"},
	{name: "secrets by value and by file", env: []string{
		"S2LD_KAFKA_SASL_PASSWORD=hunter2", "S2LD_KAFKA_SASL_PASSWORD_FILE=/nowhere/p", "S2LD_KAFKA_SASL_TOKEN=hunter2",
		"S2LD_KAFKA_SASL_TOKEN_FILE=/nowhere/t", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN=hunter2", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE=/nowhere/a"}},
	{name: "a secret in a section's place", yaml: "kafka: {sasl: hunter2}\n"},
	{name: "a secret that is a list", yaml: "kafka: {sasl: {password: [hunter2]}}\n"},
	{name: "timeouts", yaml: "delivery: {backoff_min: 2m, backoff_max: 1m, drain_timeout: 1m}\n"},
	{name: "less memory than one body", yaml: "batch: {max_bytes: 2MiB}\ndelivery: {max_buffered: 1MiB}\n"},

	{name: "a secret that YAML reads as an alias", yaml: "kafka: {sasl: {password: *hunter2}}\n"},
	{name: "not YAML", yaml: "kafka:\n  sasl:\n\tpassword: hunter2\n"},
	{name: "two documents", yaml: "log: {level: info}\n---\nlog: {level: warn}\n"},
}

func TestProblemsAreReportedInFull(t *testing.T) {
	var out strings.Builder
	for _, c := range problemCases {
		path, env := "", c.env
		if c.yaml != "" {
			path = writeFile(t, "c.yaml", c.yaml)
		}
		if !c.bare {
			env = slices.Concat(enough, c.env)
		}
		cfg, err := Load(path, lastWins(env))
		if err == nil {
			t.Errorf("%s: no problem", c.name)
			continue
		}
		if cfg != nil {
			t.Errorf("%s: a configuration beside an error", c.name)
		}
		message := err.Error()
		if path != "" {
			message = strings.ReplaceAll(message, path, "c.yaml")
		}
		fmt.Fprintf(&out, "# %s\n%s\n\n", c.name, message)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error("a problem shows a secret")
	}
	for name, r := range rules {
		if !strings.Contains(out.String(), cmp.Or(r.must, "must")) {
			t.Errorf("no case breaks rule %s", name)
		}
	}
	for _, f := range fields(defaults()) {
		for _, bound := range []string{"must be at least " + f.min, "must be at most " + f.max} {
			if !strings.HasSuffix(bound, " ") && !strings.Contains(out.String(), bound) {
				t.Errorf("no case breaks %s: %s", f.path, bound)
			}
		}
	}
	golden(t, "problems.golden", out.String())
}

// lastWins keeps the last of the variables with the same name, as a shell would.
func lastWins(env []string) []string {
	byName := map[string]string{}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		byName[name] = e
	}
	var out []string
	for _, e := range byName {
		out = append(out, e)
	}
	return out
}

func TestNearest(t *testing.T) {
	for unknown, want := range map[string]string{
		"kafka.topic":              "kafka.topics",
		"dead_letter.topic":        "dead_letters.topic",
		"client_side_id":           "launchdarkly.client_side_id",
		"kafka.password":           "kafka.sasl.password",
		"launchdarkly.accessToken": "launchdarkly.access_token",
		"batch.max-events":         "batch.max_events",
	} {
		if got := nearest(fields(defaults()), unknown, lastPart(unknown)).path; got != want {
			t.Errorf("%s: %s, want %s", unknown, got, want)
		}
	}
}

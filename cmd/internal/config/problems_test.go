package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// problemCases are invalid configurations. The golden file contains their complete errors.
var problemCases = []struct {
	name string
	yaml string   // content of the file; "" for no file
	env  []string // in addition to required
	bare bool     // omit required
}{
	{name: "no keys set", bare: true},
	{name: "only endpoint metric_import set", bare: true, env: []string{"S2LD_LAUNCHDARKLY_ENDPOINT=metric_import"}},
	{
		name: "several problems from file and environment",
		bare: true,
		env:  []string{"S2LD_KAFKA_BROKERS=k", "S2LD_BATCH_MAX_EVENT=1", "S2LD_BATCH_GZIP=maybe"},
		yaml: "kafka:\n" +
			"  topic: segment\n" +
			"  start_at: yesterday\n" +
			"launchdarkly:\n" +
			"  client_side_id: a-b\n" +
			"batch: {max_events: 0}\n",
	},

	{
		name: "unknown keys",
		yaml: "kafka: {broker: [a:1], sasl: {pasword: hunter2}}\n" +
			"clientSideId: abc\n" +
			"log: {levle: info}\n" +
			"batchs: {max_age: 1s}\n" +
			"listen: 1\n",
	},
	{name: "unknown variables", env: []string{"S2LD_KAFKA_BROKER=a:1", "S2LD_ACCESS_TOKEN=hunter2", "S2LD_KAFKA=x"}},
	{name: "duplicate key", yaml: "log:\n  level: info\n  level: warn\n"},
	{name: "sections that are not mappings", yaml: "kafka: [a]\nbatch: 5\n"},
	{name: "file that is a list", yaml: "- kafka\n"},
	{name: "mapping or list in place of a value", yaml: "log: {level: {is: info}}\nbatch: {max_events: [1]}\n"},
	{
		name: "values that are not lists",
		yaml: "kafka: {topics: {a: b}}\nlaunchdarkly: {metric_value: [[a]], contexts: [user]}\n",
	},
	{name: "contexts that are not lists", yaml: "launchdarkly: {contexts: {user: {a: b}}}\n"},
	{name: "malformed contexts in a variable", env: []string{"S2LD_LAUNCHDARKLY_CONTEXTS=user"}},
	{
		name: "malformed JSON in variables",
		env:  []string{`S2LD_LAUNCHDARKLY_CONTEXTS={"user"`, `S2LD_KAFKA_TOPICS=["a`},
	},
	{
		name: "duplicate context kind",
		yaml: "launchdarkly:\n  contexts:\n    user: [userId]\n    user: [anonymousId]\n",
	},
	{name: "duplicate context kind in a variable", env: []string{"S2LD_LAUNCHDARKLY_CONTEXTS=user=a;user=b"}},

	{
		name: "wrong types",
		env: []string{
			"S2LD_BATCH_MAX_EVENTS=1.5", "S2LD_BATCH_MAX_BYTES=1 bushel", "S2LD_BATCH_MAX_AGE=5", "S2LD_BATCH_GZIP=yes",
		},
	},
	{
		name: "empty variables",
		env: []string{
			"S2LD_BATCH_MAX_EVENTS=", "S2LD_BATCH_MAX_BYTES=", "S2LD_BATCH_MAX_AGE=", "S2LD_BATCH_GZIP=",
			"S2LD_KAFKA_GROUP=", "S2LD_LOG_LEVEL=",
		},
	},
	{
		name: "sizes out of range",
		env:  []string{"S2LD_BATCH_MAX_BYTES=9999999999GiB", "S2LD_DELIVERY_MAX_BUFFERED=-1"},
	},
	{
		name: "unknown values of enumerations",
		yaml: "kafka: {rebalance_protocol: eager, sasl: {mechanism: GSSAPI}}\n" +
			"launchdarkly: {endpoint: server_side, event_schema: 5}\n" +
			"log: {level: loud, format: xml}\n",
	},
	{
		name: "too small",
		yaml: "kafka: {session_timeout: 100ms}\n" +
			"batch: {max_events: 0, max_bytes: 1000, max_age: 1ms}\n" +
			"delivery: {max_in_flight: 0, max_buffered: 1kB, timeout: 1ms, backoff_min: 0s, drain_timeout: -1s}\n",
	},
	{
		name: "too large",
		yaml: "kafka: {session_timeout: 1h}\n" +
			"batch: {max_bytes: 10MB, max_age: 1h}\n" +
			"delivery: {max_in_flight: 2000, timeout: 1h, backoff_max: 2h}\n",
	},
	{name: "broker addresses", bare: true, yaml: "kafka: {brokers: ['k:9092', 'k:0', 'k:99999'], topics: [a b]}\n"},
	{
		name: "names",
		yaml: "kafka: {group: 'a b', start_at: 2026-01-31, instance_id: 'a/b'}\n" +
			"dead_letters: {topic: '..'}\n" +
			"admin: {listen: '9464'}\n",
	},
	{name: "empty list element", env: []string{"S2LD_KAFKA_TOPICS=a,,b", "S2LD_SEGMENT_INTEGRATION_NAMES=A,"}},
	{
		name: "URL with trailing slash, named port",
		env:  []string{"S2LD_LAUNCHDARKLY_EVENTS_URL=https://events.launchdarkly.com/", "S2LD_ADMIN_LISTEN=:http"},
	},
	{
		name: "URL with credentials",
		env:  []string{"S2LD_LAUNCHDARKLY_EVENTS_URL=https://user:hunter2@events.launchdarkly.com"},
	},
	{
		name: "API URL with a path, token with extra text",
		env: []string{
			"S2LD_LAUNCHDARKLY_API_URL=https://app.launchdarkly.com/api/v2", "S2LD_LAUNCHDARKLY_API_TOKEN=Bearer hunter2",
		},
	},
	{name: "URL without scheme", env: []string{"S2LD_LAUNCHDARKLY_EVENTS_URL=events.launchdarkly.com"}},
	{name: "SDK key as client-side ID", env: []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=sdk-hunter2"}},
	{
		name: "integration names and paths",
		yaml: "segment: {integration_names: [all]}\nlaunchdarkly: {metric_value: [properties..value]}\n",
	},
	{
		name: "filters",
		yaml: "segment:\n" +
			"  consent: {categories: [ads, ''], match: some}\n" +
			"  only: [{topic: t}, {field: a, header: b, in: [x]}]\n" +
			"  events: {only: [''], only_file: /nowhere/events}\n" +
			"  require: [a..b]\n" +
			"  max_age: -1s\n" +
			"  not_before: yesterday\n" +
			"launchdarkly: {data: {except: ['']}}\n",
	},
	{name: "consent without a decision", yaml: "segment: {consent: {categories: [ads], missing: keep}}\n"},
	{name: "consent without missing", yaml: "segment: {consent: {categories: [ads]}}\n"},
	{name: "conditions in place of a list", yaml: "segment: {only: {field: a}}\n"},
	{name: "condition that is a string", yaml: "segment: {only: [projectId]}\n"},
	{name: "unknown key in a condition", yaml: "segment: {only: [{field: a, is: [x]}]}\n"},
	{name: "condition with a single value", yaml: "segment: {only: [{field: a, in: x}]}\n"},
	{name: "condition with a list of fields", yaml: "segment: {only: [{field: [a], in: [x]}]}\n"},
	{name: "condition with null in a list", yaml: "segment: {only: [{field: a, in: [~]}]}\n"},
	{name: "condition with an invalid path", yaml: "segment: {only: [{field: a., in: [x]}]}\n"},
	{name: "condition with a key twice", yaml: "segment: {only: [{field: a, in: [x], in: [y]}]}\n"},
	{name: "conditions on two topics", yaml: "segment: {only: [{topic: a}, {topic: a}, {topic: b}]}\n"},
	{name: "conditions in a variable", env: []string{"S2LD_SEGMENT_ONLY=projectId=a"}},
	{name: "null in a list", yaml: "launchdarkly: {metric_value: [a, null]}\n"},
	{name: "null in a context kind", yaml: "launchdarkly: {contexts: {user: [~]}}\n"},
	{name: "context kind that is null", yaml: "launchdarkly: {contexts: {user: null}}\n"},
	{name: "port out of range", yaml: "launchdarkly: {events_url: 'https://events.launchdarkly.com:70000'}\n"},
	{name: "mobile key", env: []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=mob-hunter2"}},
	{
		name: "tokens with extra text",
		yaml: "launchdarkly: {endpoint: metric_import, event_schema: 4, access_token: bearer hunter2}\n" +
			"kafka: {sasl: {mechanism: OAUTHBEARER, token: \"hunter2\\nhunter2\"}}\n",
	},
	{name: "key without a similar known key", yaml: "kafka: {frobnicate: 1}\n", env: []string{"S2LD_FROBNICATE=1"}},
	{name: "auto together with a field", yaml: "segment: {unwrap: [auto, data]}\n"},
	{name: "invalid field to unwrap", yaml: "segment: {unwrap: [detail.]}\n"},
	{name: "reserved context kind", yaml: "launchdarkly: {contexts: {multi: [userId]}}\n"},
	{name: "context kind without fields", yaml: "launchdarkly: {contexts: {user: []}}\n"},
	{name: "context kind with an invalid field", yaml: "launchdarkly: {contexts: {user: [.userId]}}\n"},
	{name: "no context kinds", yaml: "launchdarkly: {event_schema: 4, contexts: {}}\n"},

	{name: "client_side without client_side_id", env: []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID="}},
	{name: "metric_import without its keys", yaml: "launchdarkly: {endpoint: metric_import}\n"},
	{name: "dead-letter topic among the topics", yaml: "dead_letters: {topic: segment}\n"},
	{name: "TLS keys without TLS", yaml: "kafka: {tls: {ca_file: a, cert_file: b, key_file: c, server_name: d}}\n"},
	{name: "certificate without key", yaml: "kafka: {tls: {enabled: true, cert_file: /nowhere/cert.pem}}\n"},
	{name: "key without certificate", yaml: "kafka: {tls: {enabled: true, key_file: /nowhere/key.pem}}\n"},
	{name: "CA file without certificates", yaml: "kafka: {tls: {enabled: true, ca_file: doc.go}}\n"},
	{name: "files without a key pair", yaml: "kafka: {tls: {enabled: true, cert_file: doc.go, key_file: doc.go}}\n"},
	{name: "empty secret file", yaml: "kafka: {sasl: {mechanism: PLAIN, username: u, password_file: /dev/null}}\n"},
	{name: "PLAIN without credentials", yaml: "kafka: {sasl: {mechanism: plain}}\n"},
	{name: "AWS_MSK_IAM without TLS", yaml: "kafka: {sasl: {mechanism: aws_msk_iam}}\n"},
	{
		name: "AWS identity for another mechanism",
		yaml: "kafka: {sasl: {mechanism: PLAIN, username: u, password: hunter2, aws: {region: eu-west-1,\n" +
			"  role_arn: 'arn:aws:iam::123456789012:role/r', external_id: '12', session_name: me, profile: p}}}\n",
	},
	{
		name: "session of an AWS role without the role",
		yaml: "kafka: {tls: {enabled: true}, sasl: {mechanism: AWS_MSK_IAM, aws: {external_id: '12', session_name: me}}}\n",
	},
	{
		name: "invalid keys of the AWS identity",
		yaml: "kafka: {tls: {enabled: true}, sasl: {mechanism: AWS_MSK_IAM, aws: {region: Ireland,\n" +
			"  role_arn: 'arn:aws:iam::123456789012:user/u', external_id: 'a b', session_name: 'a/b'}}}\n",
	},
	{
		name: "broker address with credentials",
		bare: true,
		env:  []string{"S2LD_KAFKA_BROKERS=user:hunter2@k:9092,k2:9092"},
	},
	{name: "OAUTHBEARER without token", yaml: "kafka: {sasl: {mechanism: oauthbearer}}\n"},
	{
		name: "OAuth keys for another mechanism",
		yaml: "kafka: {sasl: {mechanism: PLAIN, username: u, password: p, extensions: {logicalCluster: lkc-1}, oauth: " +
			"{token_url: https://issuer.test/token, scopes: [a], parameters: {a: hunter2}, client_secret: hunter2}}}\n",
	},
	{
		name: "OAuth without the issuer",
		yaml: "kafka: {sasl: {mechanism: OAUTHBEARER, oauth: {scopes: [a]}}}\n",
	},
	{
		name: "OAuth with too many credentials",
		yaml: "kafka: {sasl: {mechanism: OAUTHBEARER, token: hunter2, oauth: {token_url: http://localhost:1/token, " +
			"client_id: a, client_secret: hunter2, client_secret_file: /nowhere/s, assertion_file: /nowhere/a}}}\n",
	},
	{
		name: "OAuth values",
		yaml: "kafka: {sasl: {mechanism: OAUTHBEARER, extensions: {logicalCluster: 'a\u00e9'}, " +
			"oauth: {token_url: 'http://u:hunter2@issuer.test/token', client_id: a, client_secret: hunter2, " +
			"scopes: ['a b'], parameters: {grant_type: hunter2}, ca_file: doc.go}}}\n",
	},
	{
		name: "token URL without TLS",
		yaml: "kafka: {sasl: {mechanism: OAUTHBEARER, oauth: {token_url: 'http://issuer.test', client_id: a, " +
			"client_secret: hunter2}}}\n",
	},
	{
		name: "extension name with underscores",
		yaml: "kafka: {sasl: {mechanism: OAUTHBEARER, token: hunter2, extensions: {identity_pool_id: pool-1}}}\n",
	},
	{
		name: "reserved extension name",
		yaml: "kafka: {sasl: {mechanism: OAUTHBEARER, token: hunter2, extensions: {auth: a}}}\n",
	},
	{name: "malformed parameters in a variable", env: []string{"S2LD_KAFKA_SASL_OAUTH_PARAMETERS=hunter2"}},
	{
		name: "malformed mappings",
		yaml: "kafka: {sasl: {extensions: [a], oauth: {parameters: {a: [hunter2]}}}}\n",
	},
	{name: "null in a mapping", yaml: "kafka: {sasl: {extensions: {a: null}}}\n"},
	{name: "duplicate name in a variable", env: []string{"S2LD_KAFKA_SASL_EXTENSIONS=a=1;a=2"}},
	{name: "empty client ID", env: []string{"S2LD_KAFKA_CLIENT_ID="}},
	{name: "credentials without a mechanism", yaml: "kafka: {sasl: {username: u, password: hunter2}}\n"},
	{
		name: "secrets both inline and by file",
		env: []string{
			"S2LD_KAFKA_SASL_PASSWORD=hunter2", "S2LD_KAFKA_SASL_PASSWORD_FILE=/nowhere/p",
			"S2LD_KAFKA_SASL_TOKEN=hunter2", "S2LD_KAFKA_SASL_TOKEN_FILE=/nowhere/t",
			"S2LD_LAUNCHDARKLY_ACCESS_TOKEN=hunter2", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE=/nowhere/a",
			"S2LD_LAUNCHDARKLY_API_TOKEN=hunter2", "S2LD_LAUNCHDARKLY_API_TOKEN_FILE=/nowhere/b",
		},
	},
	{
		name: "header names that the program sets, and invalid ones",
		yaml: "launchdarkly: {headers: {X-LaunchDarkly-Payload-ID: hunter2}, header_files: {X Key: /nowhere/a}}\n",
	},
	{
		name: "headers set twice, and values that are empty or have several lines",
		yaml: "launchdarkly:\n  headers: {X-Key: \"hunter2\\n\", X-Other: \"\"}\n  header_files: {x-key: /nowhere/a}\n",
	},
	{
		name: "access token that is also a header",
		env: []string{
			"S2LD_LAUNCHDARKLY_ENDPOINT=metric_import", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4",
			"S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=e",
			"S2LD_LAUNCHDARKLY_ACCESS_TOKEN=hunter2", "S2LD_LAUNCHDARKLY_HEADERS=authorization=hunter2",
		},
	},
	{name: "header file with several lines", yaml: "launchdarkly: {header_files: {X-Key: doc.go}}\n"},
	{name: "CA file of LaunchDarkly that cannot be read", yaml: "launchdarkly: {ca_file: /nowhere/ca}\n"},
	{name: "secret in place of a section", yaml: "kafka: {sasl: hunter2}\n"},
	{name: "secret that is a list", yaml: "kafka: {sasl: {password: [hunter2]}}\n"},
	{
		name: "backoff and drain timeout out of range",
		yaml: "delivery: {backoff_min: 2m, backoff_max: 1m, drain_timeout: 1m}\n",
	},
	{name: "less memory than one request body", yaml: "batch: {max_bytes: 2MiB}\ndelivery: {max_buffered: 1MiB}\n"},

	{name: "secret that YAML parses as an alias", yaml: "kafka: {sasl: {password: *hunter2}}\n"},
	{name: "invalid YAML", yaml: "kafka:\n  sasl:\n\tpassword: hunter2\n"},
	{name: "two documents", yaml: "log: {level: info}\n---\nlog: {level: warn}\n"},
}

func TestAllProblemsAreReported(t *testing.T) {
	var out strings.Builder
	for _, c := range problemCases {
		path, env := "", c.env
		if c.yaml != "" {
			path = writeFile(t, "c.yaml", c.yaml)
		}
		if !c.bare {
			env = slices.Concat(required, c.env)
		}
		cfg, err := Load(path, lastWins(env))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if cfg != nil {
			t.Errorf("%s: both a configuration and an error", c.name)
		}
		message := err.Error()
		if path != "" {
			message = strings.ReplaceAll(message, path, "c.yaml")
		}
		fmt.Fprintf(&out, "# %s\n%s\n\n", c.name, message)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error("a problem reveals a secret")
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

// lastWins keeps the last value of each variable, like a shell.
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

func TestNearestKnownKey(t *testing.T) {
	for unknown, want := range map[string]string{
		"kafka.topic":              "kafka.topics",
		"dead_letter.topic":        "dead_letters.topic",
		"client_side_id":           "launchdarkly.client_side_id",
		"kafka.password":           "kafka.sasl.password",
		"launchdarkly.accessToken": "launchdarkly.access_token",
		"batch.max-events":         "batch.max_events",
	} {
		if got, ok := nearest(fields(defaults()), unknown, lastPart(unknown)); got.path != want || !ok {
			t.Errorf("%s: %s, want %s", unknown, got.path, want)
		}
	}
	for _, unknown := range []string{"kafka.frobnicate", "retries", "kafka"} {
		if got, ok := nearest(fields(defaults())[1:], unknown, lastPart(unknown)); ok {
			t.Errorf("%s: suggests %s", unknown, got.path)
		}
	}
}

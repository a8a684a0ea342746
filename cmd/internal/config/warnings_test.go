package config

import (
	"slices"
	"testing"
)

func TestWarnings(t *testing.T) {
	importing := []string{
		"S2LD_LAUNCHDARKLY_ENDPOINT=metric_import", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4",
		"S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=e", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN=t",
	}
	plain := []string{
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=u", "S2LD_KAFKA_SASL_PASSWORD=p",
	}
	for _, test := range []struct {
		env  []string
		want string // key of the only warning; "" for none
	}{
		{nil, ""},
		{[]string{"S2LD_LAUNCHDARKLY_CONTEXTS=user=userId"}, "launchdarkly.contexts"},
		{[]string{"S2LD_LAUNCHDARKLY_CONTEXTS=user=userId", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4"}, ""},
		{[]string{"S2LD_LAUNCHDARKLY_PROJECT_KEY=p"}, "launchdarkly.project_key"},
		{[]string{"S2LD_LAUNCHDARKLY_ACCESS_TOKEN=t"}, "launchdarkly.access_token"},
		{
			[]string{
				"S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=e",
				"S2LD_LAUNCHDARKLY_API_TOKEN_FILE=/nowhere", "S2LD_LAUNCHDARKLY_API_URL=https://app.launchdarkly.com",
			},
			"",
		},
		{[]string{"S2LD_LAUNCHDARKLY_API_URL=https://app.launchdarkly.com"}, "launchdarkly.api_url"},
		{
			[]string{"S2LD_LAUNCHDARKLY_API_URL=http://gateway", "S2LD_LAUNCHDARKLY_API_TOKEN=t"},
			"launchdarkly.api_url",
		},
		{importing, "launchdarkly.client_side_id"}, // which required sets
		{append(importing, "S2LD_LAUNCHDARKLY_EVENTS_URL=http://localhost:1"), "launchdarkly.client_side_id"},
		{append(importing, "S2LD_LAUNCHDARKLY_EVENTS_URL=http://[::1]:1"), "launchdarkly.client_side_id"},
		{
			[]string{"S2LD_LAUNCHDARKLY_EVENTS_URL=http://gateway", "S2LD_LAUNCHDARKLY_HEADERS=X-Key=a"},
			"launchdarkly.events_url",
		},
		{[]string{"S2LD_LAUNCHDARKLY_EVENTS_URL=http://gateway"}, ""},
		{[]string{"S2LD_KAFKA_SESSION_TIMEOUT=5s"}, "kafka.session_timeout"},
		{[]string{"S2LD_KAFKA_SESSION_TIMEOUT=6s"}, ""},
		{[]string{"S2LD_KAFKA_SESSION_TIMEOUT=5s", "S2LD_KAFKA_REBALANCE_PROTOCOL=consumer"}, "kafka.session_timeout"},
		{[]string{"S2LD_KAFKA_TOPICS=a,b,a"}, "kafka.topics"},
		{plain, "kafka.tls.enabled"},
		{append(plain, "S2LD_KAFKA_BROKERS=127.0.0.1:1,k:1"), "kafka.tls.enabled"},
		{append(plain, "S2LD_KAFKA_BROKERS=127.0.0.1:1,localhost:1,[::1]:1"), ""},
		{append(plain, "S2LD_KAFKA_TLS_ENABLED=true"), ""},
		{append(plain, "S2LD_KAFKA_SASL_MECHANISM=SCRAM-SHA-512"), ""},
		{[]string{"S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_TOKEN=t"}, "kafka.tls.enabled"},
	} {
		c, err := LoadFor(Offline, "", lastWins(slices.Concat(required, test.env)))
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, w := range c.Warnings() {
			keys = append(keys, w.Key)
		}
		if want := slices.DeleteFunc([]string{test.want}, func(s string) bool { return s == "" }); !slices.Equal(keys, want) {
			t.Errorf("%v: warnings on %v, want %v", test.env, keys, want)
		}
	}
	c, err := LoadFor(Offline, "", lastWins(slices.Concat(required, importing,
		[]string{"S2LD_LAUNCHDARKLY_EVENTS_URL=http://gateway.test"})))
	if err != nil {
		t.Fatal(err)
	}
	const want = "launchdarkly.events_url: sends the access token unencrypted; use https (S2LD_LAUNCHDARKLY_EVENTS_URL)"
	if ws := c.Warnings(); len(ws) != 2 || ws[1].Error() != want {
		t.Errorf("%v, want %s", ws, want)
	}
}

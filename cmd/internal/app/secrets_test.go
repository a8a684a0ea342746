package app

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// The log, the metrics, the status page, and the errors never contain credentials or event content.
// The test triggers every kind of failure, and LaunchDarkly returns the credential in its response.
func TestSecretsAndEventContentAreNeverExposed(t *testing.T) {
	const (
		password = "kafka-passw0rd-of-alice"
		user     = "user-key-of-somebody"
		property = "property-value-of-an-event"
		event    = "name-of-an-event"
	)
	token := ldtest.Sample.Token
	s := newStage(t, 2,
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=alice", "S2LD_KAFKA_SASL_PASSWORD="+password,
		"S2LD_LAUNCHDARKLY_ENDPOINT=metric_import", "S2LD_LAUNCHDARKLY_PROJECT_KEY="+ldtest.Sample.Project,
		"S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY="+ldtest.Sample.Key, "S2LD_LAUNCHDARKLY_ACCESS_TOKEN="+token,
		"S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4", "S2LD_DEAD_LETTERS_TOPIC=segment.dead", "S2LD_BATCH_MAX_BYTES=10KiB",
		"S2LD_ADMIN_EVENT_NAMES=false",
	)
	s.startKafka(2, kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", password))
	s.client = []kgo.Opt{kgo.SASL(plain.Auth{User: "alice", Pass: password}.AsMechanism())}

	var output strings.Builder
	collect := func() {
		for _, path := range []string{"/", "/metrics", "/readyz", "/healthz"} {
			output.WriteString(s.get(path))
		}
	}
	s.front.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Authorization")
		if got != token {
			t.Errorf("LaunchDarkly received the credential %q", got)
		}
		w.Header().Set("WWW-Authenticate", got)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"code":"unauthorized","message":"no access with Authorization: %s"}`, got)
	}))
	s.ld.Poison(ldtest.Containing("poison"))
	s.ld.Script(ldtest.Fault{Status: 503}, ldtest.Fault{Kind: ldtest.Reset},
		ldtest.Fault{Kind: ldtest.Garbage, Accepted: true}, ldtest.Fault{Status: 302})

	good := fmt.Sprintf(`{"type":"track","event":%q,"userId":%q,"timestamp":"2026-01-02T03:04:05Z",`+
		`"properties":{"value":%q}}`, event, user, property)
	noName := strings.Replace(good, `"event":"`+event, `"event":["`+event+`"],"x":"`, 1)
	stringProperties := fmt.Sprintf(`{"type":"track","event":%q,"userId":%q,"timestamp":%q,"properties":%q}`,
		event, user, property, property)
	tooLarge := fmt.Sprintf(`{"type":"track","event":%q,"userId":%q,"properties":{"value":%q}}`,
		event, user, strings.Repeat(property, 1000))
	s.produce(good,
		strings.Replace(good, property, property+"-poison", 1),
		strings.Replace(good, "{", "{"+property, 1), // malformed
		noName, // no_event_name
		strings.Replace(good, `"userId":`, `"user":`, 1), // no_user_key
		stringProperties, // properties_not_object
		tooLarge,         // too_large
	)
	s.run()
	s.log.await(s.ctx, t, "delivery halted: LaunchDarkly rejected")
	s.log.await(s.ctx, t, "call rejected")
	collect()
	const body = "no access with Authorization: [redacted]"
	if !strings.Contains(s.log.text(), body) {
		t.Errorf("the log lacks the body of LaunchDarkly's response: %s", s.log.text())
	}
	if text := output.String(); strings.Contains(text, "no access") || !strings.Contains(text, "401 Unauthorized") {
		t.Errorf("want the status of LaunchDarkly's response, without the body: %s", text)
	}
	s.front.Store(http.HandlerFunc(s.ld.ServeHTTP))
	s.log.await(s.ctx, t, "event rejected by LaunchDarkly")
	s.delivered(1)
	collect()
	s.leave()
	output.WriteString(s.log.text())

	// Next, Kafka rejects the password.
	s.environ = append(s.environ, "S2LD_KAFKA_SASL_PASSWORD="+password+password)
	s.run()
	s.log.await(s.ctx, t, "cannot reach the brokers")
	collect()
	s.leave()
	output.WriteString(s.log.text())

	for _, secret := range []string{token, password, user, property, event} {
		for _, form := range []string{
			secret, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
			url.QueryEscape(secret),
		} {
			if i := strings.Index(output.String(), form); i >= 0 {
				t.Errorf("%q is exposed: …%.300s", secret, output.String()[max(i-200, 0):])
			}
		}
	}
}

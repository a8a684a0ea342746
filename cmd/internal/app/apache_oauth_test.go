//go:build linux

package app_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// Apache Kafka closes a connection whose token has expired, so every connection must authenticate
// again before then. DURATION sets the duration of the load, 45 seconds by default.
func TestOAuthTokensOnApacheKafka(t *testing.T) {
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("needs Apache Kafka (make test-kafka)")
	}
	const lifetime = 20 * time.Second
	duration := 45 * time.Second
	if d := os.Getenv("DURATION"); d != "" {
		var err error
		if duration, err = time.ParseDuration(d); err != nil {
			t.Fatal(err)
		}
	}
	outage := min(duration, time.Minute)

	issuer, err := kafkatest.NewIssuer(lifetime)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	kafka := newApacheWith(t, kafkatest.ApacheConfig{Issuer: issuer})
	s := newScene(t, kafka, "oauth", 3, nil)
	ctx, cancel := context.WithTimeout(t.Context(), duration+outage+2*time.Minute)
	defer cancel()
	s.ctx = ctx
	s.must(kafka.Allow(s.ctx, "forwarder", kadm.NewACLs().Topics(s.topic).Groups(s.topic).Operations(kadm.OpRead)))
	s.set("S2LD_KAFKA_BROKERS="+kafka.BrokersBy(kafkatest.SASL)[0], "S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER",
		"S2LD_KAFKA_SASL_OAUTH_TOKEN_URL="+issuer.TokenURL(), "S2LD_KAFKA_SASL_OAUTH_CLIENT_ID=forwarder",
		"S2LD_KAFKA_SASL_OAUTH_CLIENT_SECRET="+issuer.Secret,
		"S2LD_KAFKA_SASL_EXTENSIONS=logicalCluster=lkc-1;identityPoolId=pool-1")
	core, logged := observer.New(zapcore.InfoLevel)
	p := s.startWith(zap.New(core))
	p.ready(isReady)

	produce := func(d time.Duration, each func()) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			s.produce(10)
			each()
		}
	}
	produce(duration, func() {
		if text := p.readyz(); text != "ok" {
			t.Errorf("/readyz during the load: %s", text)
		}
	})
	s.delivered(s.produced)
	for _, e := range logged.FilterLevelExact(zapcore.WarnLevel).All() {
		t.Errorf("logged during the load: %s %v", e.Message, e.ContextMap())
	}
	for name, want := range map[string]float64{
		"consumer_sessions_ended_total": 0, "consumer_rebalances_total": 1, "consumer_poll_errors_total": 0,
		"kafka_connect_errors_total": 0, "kafka_read_errors_total": 0, "kafka_write_errors_total": 0,
	} {
		if got := sum(t, p.App, name); got != want {
			t.Errorf("%s is %v after the load, want %v", name, got, want)
		}
	}
	if n, want := issuer.Issued(), 1+int(duration/(lifetime*4/5)); n > want+1 || n < want {
		t.Errorf("%d tokens issued, want %d", n, want)
	}

	issuer.SetDown(true)
	problem := ""
	produce(outage, func() {
		if text := p.readyz(); strings.Contains(text, issuer.TokenURL()) {
			problem = text
		}
	})
	t.Logf("/readyz: %s", problem)
	if !strings.Contains(problem, "request an OAuth token from "+issuer.TokenURL()+": 503 Service Unavailable") {
		t.Errorf("/readyz during the outage: %q, now %q", problem, p.readyz())
	}
	if delivered := s.ld.Report().Processed; delivered == s.produced {
		t.Error("the outage of the issuer had no effect")
	}
	issuer.SetDown(false)
	started := time.Now()
	p.ready(isReady)
	t.Logf("ready %v after the outage", time.Since(started))
	s.produce(100)
	s.delivered(s.produced)
	t.Logf("delivered all %d events %v after the outage", s.produced, time.Since(started))
	p.leave()
	s.committed()
	for _, e := range logged.All() {
		text := e.Message
		for _, v := range e.ContextMap() {
			if v, ok := v.(string); ok {
				text += " " + v
			}
		}
		if strings.Contains(text, "SASL_STATE") { // of a connection that authenticates twice within a second
			t.Errorf("an expiring token was used: %s", text)
		}
		if strings.Contains(text, issuer.Secret) || strings.Contains(text, "eyJ") {
			t.Errorf("the log contains a secret: %s", text)
		}
		if testing.Verbose() {
			t.Log(e.Time.Format(time.TimeOnly), e.Level, e.Message, e.ContextMap())
		}
	}
	if n := logged.FilterMessage("OAuth token refresh failing").Len(); n != 1 {
		t.Errorf("the failing refresh was logged %d times, want 1", n)
	}
}

// sum returns the sum over all series of a counter of the program.
func sum(t *testing.T, a *app.App, name string) (sum float64) {
	t.Helper()
	families, err := a.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "segment_launchdarkly_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

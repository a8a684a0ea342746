package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The log, /readyz, and the status page show the same advice as the check command.
func TestMisconfigurationIsReportedWithAdvice(t *testing.T) {
	const secret = "secret-of-the-client"
	certificate := httptest.NewTLSServer(nil)
	defer certificate.Close()
	sasl := []string{
		"S2LD_KAFKA_SASL_MECHANISM=PLAIN", "S2LD_KAFKA_SASL_USERNAME=user", "S2LD_KAFKA_SASL_PASSWORD=password",
	}
	for name, c := range map[string]struct {
		environ []string
		brokers string // replaces the cluster's address
		change  func(*stage)
		message string // default: cannot reach the brokers
		advice  string
	}{
		"SASL for a listener without SASL": {
			environ: sasl,
			change: func(s *stage) {
				s.cluster.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
					s.cluster.KeepControl()
					resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
					resp.ErrorCode = kerr.IllegalSaslState.Code
					return resp, nil, true
				})
			},
			advice: "The listener does not use SASL. Remove kafka.sasl.mechanism or fix the port.",
		},
		"issuer that rejects the credentials": {
			environ: []string{
				"S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_OAUTH_TOKEN_URL=" + rejectingIssuer(t),
				"S2LD_KAFKA_SASL_OAUTH_CLIENT_ID=me", "S2LD_KAFKA_SASL_OAUTH_CLIENT_SECRET=" + secret,
			},
			change: func(s *stage) {
				s.cluster.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
					s.cluster.KeepControl()
					return req.ResponseKind(), nil, true // accepts the mechanism
				})
			},
			advice: "Fix kafka.sasl.oauth.client_id and the client secret or the assertion.",
		},
		"no SASL for a listener with SASL": {
			change: func(s *stage) { s.startKafka(1, kfake.EnableSASL()) },
			advice: "The listener might require TLS or SASL. Set kafka.tls.enabled or kafka.sasl",
		},
		"no TLS for a listener with TLS": {
			change: func(s *stage) {
				s.startKafka(1, kfake.TLS(&tls.Config{Certificates: certificate.TLS.Certificates}))
			},
			advice: "The listener might require TLS or SASL. Set kafka.tls.enabled or kafka.sasl",
		},
		"TLS for a listener without TLS": {
			environ: []string{"S2LD_KAFKA_TLS_ENABLED=true"}, brokers: hangUp(t),
			advice: "The listener might not support TLS, or might require SASL.",
		},
		"TLS and SASL for a listener without TLS": {
			environ: append([]string{"S2LD_KAFKA_TLS_ENABLED=true"}, sasl...), brokers: hangUp(t),
			advice: "The listener does not seem to use TLS. Set kafka.tls.enabled to false",
		},
		"wrong port": {
			brokers: "127.0.0.1:1,127.0.0.1:2",
			advice:  "Nothing is listening on this address. Fix kafka.brokers",
		},
		"members with a different assignor": {
			change: func(s *stage) {
				other, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.ConsumeTopics(stageTopic),
					kgo.ConsumerGroup("forwarder"), kgo.Balancers(kgo.RangeBalancer()))
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(other.Close)
				s.produce(track("u"))
				other.PollFetches(s.ctx) // the client is a member
			},
			message: "cannot join the consumer group",
			advice:  "Some members of the group use a different assignor, such as range. Stop these members",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, 1, c.environ...)
			if c.change != nil {
				c.change(s)
			}
			s.brokers = c.brokers
			s.run()
			message := cmp.Or(c.message, "cannot reach the brokers")
			s.log.await(s.ctx, t, message)
			readyz, page := s.get("/readyz"), html.UnescapeString(s.get("/"))
			for where, text := range map[string]string{"/readyz": readyz, "the page": page, "the log": s.log.text()} {
				if strings.Contains(text, secret) {
					t.Errorf("%s contains the secret: %s", where, text)
				}
				if !strings.Contains(text, c.advice) {
					t.Errorf("%s lacks the advice %q: %s", where, c.advice, text)
				}
			}
			if n := strings.Count(s.log.text(), message); n != 1 {
				t.Errorf("logged %d times: %s", n, s.log.text())
			}
			if !strings.Contains(readyz, message) || strings.Contains(readyz, context.DeadlineExceeded.Error()) {
				t.Errorf("/readyz lacks the cause: %s", readyz)
			}
		})
	}
}

// rejectingIssuer returns the URL of an issuer of OAuth tokens that rejects every client and returns
// the client's secret.
func rejectingIssuer(t *testing.T) string {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, basic, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, "wrong: "+basic+r.FormValue("client_secret"))
	}))
	t.Cleanup(issuer.Close)
	return issuer.URL
}

// hangUp returns the address of a listener that reads once from each connection and closes it, as
// Kafka does if a client uses TLS for a listener without TLS.
func hangUp(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

package app

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A failure of the AWS identity is a problem like any other connection error, and ends without a
// restart.
func TestFailureOfAWSIdentityIsReportedUntilItEnds(t *testing.T) {
	const token = "web-identity-t0ken"
	var rejects atomic.Bool
	rejects.Store(true)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rejects.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>Down</Code>`+
				`<Message>no answer to %s</Message></Error></ErrorResponse>`, r.FormValue("WebIdentityToken"))
			return
		}
		fmt.Fprintf(w, `<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
			`<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>`+
			`<Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></R>`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	dir := t.TempDir()
	certificate := httptest.NewTLSServer(nil)
	defer certificate.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate().Raw})
	for name, content := range map[string]string{"token": token, "ca.pem": string(ca)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_PROFILE": "",
		"AWS_ACCESS_KEY_ID": "", "AWS_MAX_ATTEMPTS": "1", "AWS_ENDPOINT_URL_STS": sts.URL,
		"AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": filepath.Join(dir, "token"),
	} {
		t.Setenv(name, value)
	}
	s := newStage(t, 1, "S2LD_KAFKA_TLS_ENABLED=true", "S2LD_KAFKA_TLS_CA_FILE="+filepath.Join(dir, "ca.pem"),
		"S2LD_KAFKA_SASL_MECHANISM=AWS_MSK_IAM", "S2LD_KAFKA_SASL_AWS_REGION=us-east-1")
	s.startKafka(1, kfake.TLS(&tls.Config{Certificates: certificate.TLS.Certificates}))
	s.acceptSASL("{}")
	s.run()
	s.log.await(s.ctx, t, "cannot reach the brokers")
	page := html.UnescapeString(s.get("/"))
	for where, text := range map[string]string{"/readyz": s.get("/readyz"), "the page": page, "the log": s.log.text()} {
		for _, want := range []string{
			"web identity (IRSA), role arn:aws:iam::1:role/r: ", "StatusCode: 503", "no answer to [redacted]",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q: %s", where, want, text)
			}
		}
		if strings.Contains(text, token) {
			t.Errorf("%s reveals the token: %s", where, text)
		}
	}
	rejects.Store(false)
	s.log.await(s.ctx, t, "problem resolved")
	if got := s.get("/readyz"); strings.Contains(got, "cannot reach the brokers") {
		t.Errorf("after STS has recovered, /readyz: %s", got)
	}
}

// A failed refresh is a problem while the old token is still valid.
func TestFailureOfOAuthIssuerIsReportedUntilItEnds(t *testing.T) {
	const secret = "oauth-client-s3cret"
	var rejects atomic.Bool
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, password, _ := r.BasicAuth(); rejects.Load() {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"unknown secret %s"}`, password)
			return
		}
		fmt.Fprint(w, `{"access_token":"t","expires_in":2}`)
	}))
	defer issuer.Close()
	s := newStage(t, 1, "S2LD_KAFKA_SASL_MECHANISM=OAUTHBEARER", "S2LD_KAFKA_SASL_OAUTH_CLIENT_ID=me",
		"S2LD_KAFKA_SASL_OAUTH_TOKEN_URL="+issuer.URL, "S2LD_KAFKA_SASL_OAUTH_CLIENT_SECRET="+secret)
	s.startKafka(1)
	s.acceptSASL("")
	s.run()
	s.log.await(s.ctx, t, "partitions assigned")
	if got := s.get("/readyz"); got != "200 ok\n" {
		t.Errorf("before the failure, /readyz: %s", got)
	}
	rejects.Store(true)
	s.log.await(s.ctx, t, "OAuth token refresh failing")
	page := html.UnescapeString(s.get("/"))
	want := "request an OAuth token from " + issuer.URL + ": 400 Bad Request: invalid_client unknown secret [redacted]"
	for where, text := range map[string]string{"/readyz": s.get("/readyz"), "the page": page, "the log": s.log.text()} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks the failure: %s", where, text)
		}
		if strings.Contains(text, secret) || strings.Contains(text, "cannot reach the brokers") {
			t.Errorf("%s reveals the secret or is about connections: %s", where, text)
		}
	}
	rejects.Store(false)
	s.log.await(s.ctx, t, "OAuth token refreshed")
	if got := s.get("/readyz"); got != "200 ok\n" {
		t.Errorf("after the recovery, /readyz: %s", got)
	}
}

// acceptSASL makes the brokers accept all credentials with the same reply.
func (s *stage) acceptSASL(reply string) {
	s.cluster.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		return req.ResponseKind(), nil, true
	})
	s.cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.SASLAuthBytes = []byte(reply)
		return resp, nil, true
	})
}

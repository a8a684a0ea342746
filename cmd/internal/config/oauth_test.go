package config

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// fakeIssuer is a transport that responds like the issuer of tokens.
type fakeIssuer struct {
	latency  time.Duration
	lifetime string // JSON members after the token, such as `,"expires_in":20`
	respond  func(n int) *http.Response

	mu       sync.Mutex      // guards the fields below
	down     bool            // requests fail
	requests []time.Duration // times of the requests since started
	started  time.Time
	form     url.Values // of the last request
	user     *url.Userinfo
}

func (i *fakeIssuer) RoundTrip(req *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests = append(i.requests, time.Since(i.started).Round(time.Millisecond))
	n, down := len(i.requests), i.down
	body, _ := io.ReadAll(req.Body)
	i.form, _ = url.ParseQuery(string(body))
	i.user = nil
	if name, password, ok := req.BasicAuth(); ok {
		i.user = url.UserPassword(name, password)
	}
	i.mu.Unlock()
	select {
	case <-time.After(i.latency):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if i.respond != nil {
		return i.respond(n), nil
	}
	if down {
		return response(http.StatusServiceUnavailable, "<html>"), nil
	}
	return response(http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer"%s}`, n, i.lifetime)), nil
}

func (i *fakeIssuer) setDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// times returns the times of the requests since the last call.
func (i *fakeIssuer) times() []time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.requests
	i.requests = nil
	return all
}

func response(code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Status: "999 made up", Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// issuedBy returns a configuration whose tokens come from the issuer. The assertion skips the
// detection of how the issuer expects a client secret, which can double the requests.
func issuedBy(t *testing.T, i *fakeIssuer) *Config {
	t.Helper()
	i.started = time.Now()
	c := defaults()
	c.Kafka.SASL.Mechanism = "OAUTHBEARER"
	c.Kafka.SASL.OAuth = OAuth{
		TokenURL: "https://issuer.test/token?tenant=t", ClientID: "me", AssertionFile: writeFile(t, "jwt", "assertion\n"),
	}
	c.tokens.transport = i
	return c
}

// inBubble runs test in virtual time with a token of 20 seconds, which RefreshToken refreshes.
func inBubble(t *testing.T, i *fakeIssuer, test func(t *testing.T, c *Config, logged *observer.ObservedLogs)) {
	t.Helper()
	i.lifetime = `,"expires_in":20`
	synctest.Test(t, func(t *testing.T) {
		c := issuedBy(t, i)
		core, logged := observer.New(zapcore.DebugLevel)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { c.RefreshToken(ctx, zap.New(core)) })
		test(t, c, logged)
		cancel()
		running.Wait()
	})
}

func seconds(values ...float64) (all []time.Duration) {
	for _, v := range values {
		all = append(all, time.Duration(v*float64(time.Second)))
	}
	return all
}

func TestConnectionsShareATokenForFourFifthsOfItsLifetime(t *testing.T) {
	issuer := &fakeIssuer{latency: 100 * time.Millisecond}
	inBubble(t, issuer, func(t *testing.T, c *Config, logged *observer.ObservedLogs) {
		mechanism := mechanismOf(t, c)
		var connecting sync.WaitGroup
		for range 20 {
			connecting.Go(func() {
				_, first, err := mechanism.Authenticate(t.Context(), "k:9092")
				if err != nil || !bytes.Contains(first, []byte("auth=Bearer token-1\x01")) {
					t.Errorf("%q, %v", first, err)
				}
			})
		}
		connecting.Wait()
		for range 100 { // for 50 seconds
			time.Sleep(500 * time.Millisecond)
			before := time.Now()
			if _, err := c.tokens.get(t.Context()); err != nil || time.Since(before) > 0 {
				t.Fatalf("%v after %v", err, time.Since(before))
			}
		}
		if got, want := issuer.times(), seconds(0, 16, 32, 48); !slices.Equal(got, want) {
			t.Errorf("requests at %v, want %v", got, want)
		}
		if logged.Len() > 0 {
			t.Errorf("logged %v", logged.All())
		}
	})
}

func TestOldTokenIsUsedWhileTheIssuerIsDown(t *testing.T) {
	issuer := &fakeIssuer{}
	inBubble(t, issuer, func(t *testing.T, c *Config, logged *observer.ObservedLogs) {
		synctest.Wait()
		issuer.setDown(true)
		expect := func(want string) {
			t.Helper()
			if want != "" {
				want = "request an OAuth token from https://issuer.test/token: 503 Service Unavailable. " +
					"The issuer is not working. Fix the issuer, or wait until it has recovered" + want
			}
			if got := c.KafkaCredentialsProblem(); got != want {
				t.Errorf("problem %q, want %q", got, want)
			}
		}
		time.Sleep(16*time.Second - time.Millisecond)
		expect("")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		expect(". The old token is valid for another 2s.")
		time.Sleep(4*time.Second - expiryMargin - time.Millisecond)
		if token, err := c.tokens.get(t.Context()); err != nil || token != "token-1" {
			t.Errorf("before the token expires: %q, %v", token, err)
		}
		time.Sleep(time.Millisecond)
		expect(".")
		for range 420 { // 42 seconds of connections
			if token, err := c.tokens.get(t.Context()); err == nil || token != "" {
				t.Fatalf("after the token has expired: %q, %v", token, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got, want := issuer.times(), seconds(0, 16, 17, 19, 23, 31, 39, 47, 55); !slices.Equal(got, want) {
			t.Errorf("requests at %v, want %v", got, want)
		}
		issuer.setDown(false)
		time.Sleep(maxTokenPause)
		if _, err := c.tokens.get(t.Context()); err != nil {
			t.Errorf("after the issuer has recovered: %v", err)
		}
		expect("")
		entries := logged.All()
		if len(entries) != 2 || entries[0].Level != zapcore.WarnLevel || entries[1].Level != zapcore.InfoLevel {
			t.Fatalf("logged %v, want a warning and the recovery", entries)
		}
		if valid := entries[0].ContextMap()["valid"]; valid != 4*time.Second-expiryMargin {
			t.Errorf("the warning says that the old token is valid for %v", valid)
		}
	})
}

func TestTokenIsRequestedWithoutRefreshInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{} // omits the lifetime
		c := issuedBy(t, issuer)
		for range 300 { // for 150 seconds
			if _, err := c.tokens.get(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if got, want := issuer.times(), seconds(0, 58, 116); !slices.Equal(got, want) {
			t.Errorf("requests at %v, want %v", got, want)
		}
	})
}

func TestTokenThatExpiresBeforeItArrivesIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{latency: time.Second, lifetime: `,"expires_in":1`}
		c := issuedBy(t, issuer)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var running sync.WaitGroup
		running.Go(func() { c.RefreshToken(ctx, zap.NewNop()) })
		for range 15 {
			if token, err := c.tokens.get(ctx); err == nil || !strings.Contains(err.Error(), "has expired") {
				t.Fatalf("%q, %v", token, err)
			}
			time.Sleep(time.Second)
		}
		running.Wait()
		if got, want := issuer.times(), seconds(0, 2, 5, 10, 19); !slices.Equal(got, want) {
			t.Errorf("requests at %v, want %v", got, want)
		}
	})
}

func TestRequestForATokenTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{latency: time.Hour}
		c := issuedBy(t, issuer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.tokens.get(ctx)
		if at := time.Since(issuer.started); err == nil || at != tokenTimeout || !strings.Contains(err.Error(), "https://") {
			t.Errorf("%v after %v", err, at)
		}
	})
}

func TestCanceledConnectionIsNoFailureOfTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{latency: time.Second}
		c := issuedBy(t, issuer)
		ctx, cancel := context.WithCancel(t.Context())
		var connecting sync.WaitGroup
		connecting.Go(func() {
			if _, err := c.tokens.get(ctx); err == nil {
				t.Error("got a token after cancellation")
			}
		})
		synctest.Wait()
		connecting.Go(func() {
			if token, err := c.tokens.get(t.Context()); token != "token-2" {
				t.Errorf("%q, %v", token, err)
			}
		})
		synctest.Wait()
		cancel()
		connecting.Wait()
		if got, want := issuer.times(), seconds(0, 0); !slices.Equal(got, want) {
			t.Errorf("requests at %v, want %v", got, want)
		}
	})
}

func TestRequestForATokenContainsTheCurrentCredentials(t *testing.T) {
	secret := writeFile(t, "secret", "one\n")
	assertion := writeFile(t, "assertion", "jwt-1\n")
	issuer := &fakeIssuer{lifetime: `,"expires_in":1`}
	c := issuedBy(t, issuer)
	o := &c.Kafka.SASL.OAuth
	o.AssertionFile, o.ClientSecret.File = "", secret
	o.Scopes, o.Parameters = []string{"a", "b"}, map[string]Secret{"audience": {Value: "kafka"}}
	request := func() url.Values {
		t.Helper()
		if _, _, err := c.tokens.request(t.Context()); err != nil {
			t.Fatal(err)
		}
		return issuer.form
	}
	const common = "audience=kafka&grant_type=client_credentials&scope=a+b"
	for _, want := range []string{"one", "two"} {
		if err := os.WriteFile(secret, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := request().Encode(); got != common || issuer.user.String() != "me:"+want {
			t.Errorf("%s for %s", got, issuer.user)
		}
	}

	// An issuer that expects the credentials in the parameters
	issuer = &fakeIssuer{respond: func(int) *http.Response {
		if issuer.user != nil {
			return response(http.StatusUnauthorized, `{"error":"invalid_client"}`)
		}
		return response(http.StatusOK, `{"access_token":"t","expires_in":1}`)
	}}
	c.tokens = newTokens(o)
	c.tokens.transport = issuer
	for _, requests := range []int{2, 1} { // the first fails, and the client remembers it
		if got := request().Encode(); got != "audience=kafka&client_id=me&client_secret=two&"+
			"grant_type=client_credentials&scope=a+b" || len(issuer.times()) != requests {
			t.Errorf("%s", got)
		}
	}

	o.AssertionFile, o.ClientSecret = assertion, Secret{}
	c.tokens = newTokens(o)
	c.tokens.transport = issuer
	for _, want := range []string{"jwt-1", "jwt-2"} {
		if err := os.WriteFile(assertion, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := request().Encode(); got != "audience=kafka&client_assertion="+want+"&client_assertion_type="+
			"urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_id=me&"+
			"grant_type=client_credentials&scope=a+b" {
			t.Error(got)
		}
	}
}

func TestErrorsOfTheIssuerContainNoSecrets(t *testing.T) {
	const (
		secret    = "hunter2/?=" // changed by escaping
		jwt       = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodW50ZXIyIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
		parameter = "hunter3/&"
		requestID = "0e1c0a4d-5b0a-4c5c-8a39-0d8a5f8f2a11"
	)
	basic := "bWU6aHVudGVyMiUyRiUzRiUzRA==" // of the escaped secret
	for _, test := range []struct {
		name   string
		code   int
		body   string
		want   string
		advice string
	}{
		{
			"credentials", http.StatusUnauthorized,
			`{"error":"invalid_client","error_description":"Basic ` + basic + ` is ` + secret + ` or ` +
				url.QueryEscape(secret) + ` or ` + parameter + ` or ` + url.QueryEscape(parameter) +
				`. Trace ID: ` + requestID + `\n\u0000\u001b[31m"}`,
			"401 Unauthorized: invalid_client Basic [redacted] is [redacted] or [redacted] or [redacted] or [redacted]. " +
				"Trace ID: " + requestID + " [31m",
			"client_id",
		},
		{
			"token", http.StatusBadRequest,
			`{"error":"invalid_scope","error_description":"` + jwt + `"}`,
			"400 Bad Request: invalid_scope [redacted]", "scopes",
		},
		{"no JSON", http.StatusBadGateway, "<html>" + secret + jwt, "502 Bad Gateway", "not working"},
		{"not an issuer", http.StatusNotFound, secret, "404 Not Found", "token_url"},
		{"redirect", http.StatusTemporaryRedirect, secret, "307 Temporary Redirect", "token_url"},
		{"no token", http.StatusOK, `{"refresh_token":"` + jwt + `"}`, "missing access_token", "token_url"},
		{"invalid JSON", http.StatusOK, jwt, "cannot parse json", "token_url"},
		{
			"lifetime", http.StatusOK, `{"access_token":"` + jwt + `","expires_in":"` + jwt + `"}`, "[redacted]", "token_url",
		},
		{"expired", http.StatusOK, `{"access_token":"` + jwt + `","expires_in":-1}`, "has expired", "kafka.sasl.oauth"},
		{"no lifetime", http.StatusOK, `{"access_token":"` + jwt + `","expires_in":0}`, "has expired", "kafka.sasl.oauth"},
		{
			"control character", http.StatusOK, `{"access_token":"` + jwt + `\u0001a=b","expires_in":9}`,
			"invalid characters", "kafka.sasl.oauth",
		},
		{
			"long", http.StatusBadRequest,
			`{"error":"e","error_description":"` + strings.Repeat("é ", 1000) + `"}`, "é ", "kafka.sasl.oauth",
		},
	} {
		issuer := &fakeIssuer{respond: func(int) *http.Response {
			r := response(test.code, test.body)
			r.Header.Set("Location", "https://elsewhere.test/")
			return r
		}}
		c := issuedBy(t, issuer)
		c.Kafka.SASL.OAuth.AssertionFile, c.Kafka.SASL.OAuth.ClientSecret.Value = "", secret
		c.Kafka.SASL.OAuth.Parameters = map[string]Secret{"p": {Value: parameter}, "empty": {}}
		_, err := c.tokens.get(t.Context())
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		text, advice := err.Error(), err.(interface{ Advice() string }).Advice()
		if !strings.HasPrefix(text, "request an OAuth token from https://issuer.test/token: ") ||
			!strings.Contains(text, test.want) || !strings.Contains(advice, test.advice) {
			t.Errorf("%s: %s (%s), want %s", test.name, text, advice, test.want)
		}
		for _, s := range []string{"hunter", "%2F%26", "eyJ", basic, "made up", "\n", "\x1b", "elsewhere"} {
			if strings.Contains(text+advice, s) {
				t.Errorf("%s: %q contains %q", test.name, text, s)
			}
		}
		if len(text) > 400 {
			t.Errorf("%s: %d bytes", test.name, len(text))
		}
	}
}

func TestIssuersCertificateAndFilesAreReadForEachRequest(t *testing.T) {
	issuer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"t","expires_in":60}`)
	}))
	issuer.Config.ErrorLog = log.New(io.Discard, "", 0)
	issuer.StartTLS()
	defer issuer.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw})
	ca := writeFile(t, "ca.pem", string(newAuthority(t).pem))
	c := defaults()
	c.Kafka.SASL.OAuth = OAuth{
		TokenURL: issuer.URL, ClientID: "me", ClientSecret: Secret{File: writeFile(t, "secret", "s")}, CAFile: ca,
	}
	_, _, err := c.tokens.request(t.Context())
	if err == nil || !strings.Contains(err.advice, "kafka.sasl.oauth.ca_file") {
		t.Errorf("other CA: %v", err)
	}
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	if token, _, err := c.tokens.request(t.Context()); err != nil || token != "t" {
		t.Errorf("%q, %v", token, err)
	}
	c.Kafka.SASL.OAuth.CAFile = "/nowhere/ca.pem"
	if _, _, err := c.tokens.request(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere/ca.pem") {
		t.Errorf("no CA file: %v", err)
	}
	c.Kafka.SASL.OAuth.ClientSecret.File = "/nowhere/secret"
	if _, _, err := c.tokens.request(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere/secret") {
		t.Errorf("no secret file: %v", err)
	}
}

func TestExtensionsAccompanyEveryToken(t *testing.T) {
	fixed, issued := defaults(), issuedBy(t, &fakeIssuer{})
	fixed.Kafka.SASL = SASL{Mechanism: "OAUTHBEARER", Token: Secret{Value: "token-1"}}
	for _, c := range []*Config{fixed, issued} {
		c.Kafka.SASL.Extensions = map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}
		_, first, err := mechanismOf(t, c).Authenticate(t.Context(), "k:9092")
		const want = "n,,\x01auth=Bearer token-1\x01identityPoolId=pool-1\x01logicalCluster=lkc-1\x01\x01"
		if err != nil || string(first) != want {
			t.Errorf("%q, %v, want %q", first, err, want)
		}
	}
}

func TestIdentityDescribesTheToken(t *testing.T) {
	if got, err := defaults().KafkaIdentity(t.Context()); got != "" || err != nil {
		t.Errorf("without an issuer: %q, %v", got, err)
	}
	got, err := issuedBy(t, &fakeIssuer{lifetime: `,"expires_in":300`}).KafkaIdentity(t.Context())
	if want := "OAuth token from https://issuer.test/token for client me, valid for 5m"; got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestVariablesHoldMappingsAsTextOrJSON(t *testing.T) {
	for _, value := range []string{"a=b;c= d=e;", `{"a":"b","c":"d=e"}`} {
		c, err := LoadFor(DryRun, "", []string{
			"S2LD_KAFKA_SASL_EXTENSIONS=" + value, "S2LD_KAFKA_SASL_OAUTH_PARAMETERS=" + value,
		})
		if err != nil {
			t.Fatal(err)
		}
		extensions, parameters := c.Kafka.SASL.Extensions, c.Kafka.SASL.OAuth.Parameters
		if fmt.Sprint(extensions) != "map[a:b c:d=e]" || len(parameters) != 2 || parameters["c"].Value != "d=e" {
			t.Errorf("%s: %v, %v", value, extensions, parameters)
		}
	}
}

func TestOAuthIsAccepted(t *testing.T) {
	for _, yaml := range []string{
		"token: t, extensions: {logicalCluster: lkc-1}",
		"extensions: {logicalCluster: lkc-1, identityPoolId: pool-1}, oauth: {token_url: 'https://i.test/a/token?b=c', " +
			"client_id: me, client_secret: s, scopes: ['api://kafka/.default'], parameters: {audience: 'https://k'}}",
		"oauth: {token_url: 'http://127.0.0.1:8080', client_id: me, assertion_file: /nowhere/jwt, ca_file: /nowhere/ca}",
		"oauth: {token_url: 'http://localhost:14293', client_id: unused, client_secret_file: /nowhere/s}",
	} {
		path := writeFile(t, "c.yaml", "kafka: {sasl: {mechanism: OAUTHBEARER, "+yaml+"}}")
		if _, err := LoadFor(Offline, path, required); err != nil {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

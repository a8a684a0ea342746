package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

const (
	tokenTimeout = 10 * time.Second // timeout of a request for a token

	// A response should contain the token's lifetime, but RFC 6749 does not require it.
	defaultLifetime = time.Minute

	// After a failed request, the next one starts after a pause. The pause doubles with each failure.
	minTokenPause = time.Second
	maxTokenPause = 8 * time.Second

	// A connection cannot use a token's last two seconds. The expiry time in the token can be up to
	// one second earlier, because it is a whole number. Apache Kafka rejects a connection's second
	// authentication within a second (KIP-368), which would be due before the next request.
	expiryMargin = 2 * time.Second
)

// tokens requests OAuth tokens and caches the newest one. It is safe for concurrent use.
type tokens struct {
	cfg       *OAuth
	transport http.RoundTripper // nil for the default; tests set it

	// The request in progress uses client, which remembers how the issuer expects the credentials.
	client clientcredentials.Config

	mu       sync.Mutex    // guards the fields below
	progress chan struct{} // closed when the request in progress ends; nil if there is none
	token    string
	expiry   time.Time
	last     time.Time      // time until which a connection can use the token
	next     time.Time      // earliest time of the next request
	failures int            // number of failed requests since the last successful one
	failure  *identityError // of the last request; nil if it was successful
}

func newTokens(cfg *OAuth) *tokens { return &tokens{cfg: cfg} }

// get returns a valid token. If there is none, get requests one or waits for the request in
// progress. During the pause after a failed request, get returns that request's error.
func (t *tokens) get(ctx context.Context) (string, error) {
	for {
		t.mu.Lock()
		now, token, failure := time.Now(), t.token, t.failure
		valid, due := now.Before(t.last), !now.Before(t.next)
		t.mu.Unlock()
		switch {
		case valid:
			return token, nil
		case !due:
			return "", failure
		}
		if err := t.refresh(ctx); err != nil {
			return "", err
		}
	}
}

// refresh requests a token if a request is due and no other is in progress. It returns when the
// request has ended. It returns an error only if ctx is canceled, or done while another request is
// in progress.
func (t *tokens) refresh(ctx context.Context) error {
	t.mu.Lock()
	switch progress := t.progress; {
	case progress != nil:
		t.mu.Unlock()
		select {
		case <-progress:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case time.Now().Before(t.next):
		t.mu.Unlock()
		return nil
	}
	progress := make(chan struct{})
	t.progress = progress
	t.mu.Unlock()

	started := time.Now()
	token, lifetime, failure := t.request(ctx)
	last := started.Add(lifetime - min(expiryMargin, lifetime/10))
	if failure == nil && !time.Now().Before(last) {
		failure = t.problem(errors.New("the token in the response has expired"))
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(progress)
	t.progress = nil
	switch {
	case failure == nil:
		t.token, t.expiry, t.next = token, started.Add(lifetime), started.Add(lifetime*4/5)
		t.last, t.failure, t.failures = last, nil, 0
	case errors.Is(ctx.Err(), context.Canceled): // the caller is stopping, and the issuer may be fine
		return ctx.Err()
	default:
		t.failure, t.next = failure, time.Now().Add(min(minTokenPause<<min(t.failures, 8), maxTokenPause))
		t.failures++
	}
	return nil
}

// request requests a token. The token can have expired.
func (t *tokens) request(ctx context.Context) (token string, lifetime time.Duration, failure *identityError) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	credential := t.cfg.ClientSecret
	if t.cfg.AssertionFile != "" {
		credential = Secret{File: t.cfg.AssertionFile}
	}
	secret, err := credential.Read()
	if err != nil {
		return "", 0, t.problem(err)
	}
	transport, err := t.roundTripper()
	if err != nil {
		return "", 0, t.problem(err)
	}
	c := &t.client
	c.TokenURL, c.ClientID, c.Scopes, c.EndpointParams = t.cfg.TokenURL, t.cfg.ClientID, t.cfg.Scopes, url.Values{}
	hide := []string{
		secret, url.QueryEscape(secret), // in parameters, and in the header
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(secret))),
	}
	for name, value := range t.cfg.Parameters {
		c.EndpointParams.Set(name, value.Value)
		hide = append(hide, value.Value, url.QueryEscape(value.Value))
	}
	if t.cfg.AssertionFile != "" { // RFC 7523, section 2.2
		c.AuthStyle = oauth2.AuthStyleInParams
		c.EndpointParams.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		c.EndpointParams.Set("client_assertion", secret)
	} else {
		c.ClientSecret = secret
	}
	issued, err := c.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	if err != nil {
		return "", 0, t.problem(err, hide...)
	}
	lifetime = defaultLifetime
	if !issued.Expiry.IsZero() {
		lifetime = time.Until(issued.Expiry)
	} else if raw := issued.Extra("expires_in"); raw != nil && raw != "" { // 0 seconds
		lifetime = 0
	}
	if strings.ContainsFunc(issued.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, t.problem(errors.New("the token in the response contains invalid characters"))
	}
	return issued.AccessToken, lifetime, nil
}

// roundTripper returns a transport that trusts the current content of the CA file. The transport
// keeps no connections, because requests are rare.
func (t *tokens) roundTripper() (http.RoundTripper, error) {
	if t.transport != nil {
		return t.transport, nil
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.cfg.CAFile != "" {
		var err error
		if trust.RootCAs, err = certPool("kafka.sasl.oauth.ca_file", t.cfg.CAFile); err != nil {
			return nil, err
		}
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, DisableKeepAlives: true}, nil
}

// issuer returns the token URL without its query.
func (t *tokens) issuer() string {
	address, _, _ := strings.Cut(t.cfg.TokenURL, "?")
	return address
}

// problem describes err. It redacts the secrets in hide, and anything else in a response that
// might be a token.
func (t *tokens) problem(err error, hide ...string) *identityError {
	const section = "kafka.sasl.oauth."
	e := &identityError{text: err.Error(), advice: "Fix kafka.sasl.oauth."}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		e.text = masked(failed.Err.Error(), hide, "")
		e.advice = cmp.Or(sink.NetworkAdvice(failed.Err, section+"token_url", section+"ca_file"),
			"Fix "+section+"token_url or the network between this host and the issuer.")
	} else if response, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code := response.Response.StatusCode
		e.text, e.advice = fmt.Sprintf("%d %s", code, http.StatusText(code)), responseAdvice(code, response.ErrorCode)
		if response.ErrorCode != "" {
			e.text += ": " + masked(response.ErrorCode+" "+response.ErrorDescription, hide, "")
		}
	} else if len(hide) > 0 { // the response is not valid
		e.text, e.advice = masked(e.text, hide, ""), "Fix "+section+"token_url."
	}
	e.text = "request an OAuth token from " + t.issuer() + ": " + e.text
	return e
}

// responseAdvice returns advice on a status code and an error code (RFC 6749, section 5.2) of the
// token endpoint.
func responseAdvice(status int, code string) string {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return "The issuer is not working. Fix the issuer, or wait until it has recovered."
	case code == "invalid_scope":
		return "Fix kafka.sasl.oauth.scopes."
	case code == "invalid_client", code == "unauthorized_client", status == http.StatusUnauthorized:
		return "Fix kafka.sasl.oauth.client_id and the client secret or the assertion."
	case code == "":
		return "Fix kafka.sasl.oauth.token_url."
	}
	return "Fix kafka.sasl.oauth."
}

// tokenLike matches texts that can be tokens or parts of them, but not UUIDs, which issuers use to
// identify requests. It also matches ARNs, so that masked can keep them.
var tokenLike = regexp.MustCompile(`\barn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:[0-9]*:[A-Za-z0-9_+=,.@/-]+|` +
	`[A-Za-z0-9._~+/=-]{40,}`)

// masked returns a text from a response in one line of at most 300 bytes, with secrets redacted. It
// redacts anything that can be a token, except for ARNs and the parts of keep.
func masked(text string, secrets []string, keep string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, redacted)
		}
	}
	text = tokenLike.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, "arn:") || strings.Contains(keep, s) {
			return s
		}
		return redacted
	})
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	return strings.ToValidUTF8(text[:min(len(text), 300)], "")
}

// RefreshToken requests a new OAuth token after four fifths of each token's lifetime, until ctx is
// done. It logs the first failure of a series and the recovery. Without it, the Kafka clients
// request a token only after the old one has expired. If kafka.sasl.oauth is not set, RefreshToken
// returns immediately.
func (c *Config) RefreshToken(ctx context.Context, log *zap.Logger) {
	t := c.tokens
	if t.cfg.TokenURL == "" {
		return
	}
	failing := false
	for t.refresh(ctx) == nil {
		t.mu.Lock()
		failure, next, last := t.failure, t.next, t.last
		t.mu.Unlock()
		switch {
		case failure != nil && !failing:
			log.Warn("OAuth token refresh failing", zap.Error(failure),
				zap.Duration("valid", max(0, time.Until(last))))
		case failure == nil && failing:
			log.Info("OAuth token refreshed")
		}
		failing = failure != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
	}
}

// failing returns the failure of the last request, and how long the old token is still valid.
func (t *tokens) failing() (failure *identityError, old string, valid time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure, "token is", time.Until(t.last)
}

// identify obtains a token and describes it.
func (t *tokens) identify(ctx context.Context) (string, error) {
	if _, err := t.get(ctx); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("OAuth token from %s for client %s, valid for %s", t.issuer(), t.cfg.ClientID,
		durationText(time.Until(t.expiry).Round(time.Second))), nil
}

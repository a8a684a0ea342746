package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// standIn is a server that represents every AWS endpoint that issues credentials. The access key ID
// names the endpoint, and its secret is "secret" followed by the ID.
type standIn struct {
	*httptest.Server
	t        *testing.T
	requests atomic.Int32
	valid    time.Duration // lifetime of the credentials
	fail     http.Handler  // replaces the responses, unless it is nil
	role     string        // expected parameters of AssumeRole
	external string
	session  string
}

func newStandIn(t *testing.T) *standIn {
	s := &standIn{t: t, valid: time.Hour}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", s.sts)
	mux.HandleFunc("GET /federation/credentials", s.sso)
	mux.HandleFunc("GET /container", s.container)
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		fmt.Fprint(w, "metadata-token")
	})
	mux.HandleFunc("GET /latest/meta-data/iam/security-credentials/", s.metadata)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if s.fail != nil {
			s.fail.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *standIn) expiry() string { return time.Now().Add(s.valid).UTC().Format(time.RFC3339) }

func (s *standIn) sts(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	action, id := r.FormValue("Action"), ""
	switch action {
	case "AssumeRole":
		id = "AKIDROLE"
		s.verify(r, body)
		for name, want := range map[string]string{
			"RoleArn": s.role, "ExternalId": s.external, "RoleSessionName": s.session, "DurationSeconds": "3600",
		} {
			if got := r.FormValue(name); got != want {
				s.t.Errorf("AssumeRole: %s %q, want %q", name, got, want)
			}
		}
	case "AssumeRoleWithWebIdentity":
		id = "AKIDWEB"
		if r.FormValue("WebIdentityToken") != webToken || r.FormValue("RoleArn") != "arn:aws:iam::1:role/web" {
			s.t.Errorf("AssumeRoleWithWebIdentity: %s", body)
		}
	default:
		s.t.Errorf("STS: unexpected request %s", body)
	}
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>`+
		`<AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>secret%[2]s</SecretAccessKey>`+
		`<SessionToken>%[3]s</SessionToken><Expiration>%[4]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, id, roleToken, s.expiry())
}

// verify compares the signature of a request to STS with that of the same request signed with the
// credentials in the environment.
func (s *standIn) verify(r *http.Request, body []byte) {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > time.Minute {
		s.t.Errorf("STS: time of the request: %v, %v", at, err)
	}
	got := r.Header.Get("Authorization")
	_, signed, _ := strings.Cut(got, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	again, err := http.NewRequest(r.Method, s.URL+"/", strings.NewReader(string(body)))
	if err != nil {
		s.t.Error(err)
	}
	for name := range strings.SplitSeq(signed, ";") {
		again.Header.Set(name, r.Header.Get(name))
	}
	hash := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: "AKIDENV", SecretAccessKey: baseSecret}
	err = v4.NewSigner().SignHTTP(s.t.Context(), creds, again, hex.EncodeToString(hash[:]), "sts", "us-east-1", at)
	if want := again.Header.Get("Authorization"); err != nil || got != want {
		s.t.Errorf("STS: signature %s, want %s, %v", got, want, err)
	}
}

func (s *standIn) sso(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Amz-Sso_bearer_token") != "sso-token" || r.URL.RawQuery != "account_id=1&role_name=r" {
		s.t.Errorf("SSO: %s, %v", r.URL, r.Header)
	}
	fmt.Fprintf(w, `{"roleCredentials":{"accessKeyId":"AKIDSSO","secretAccessKey":"secretAKIDSSO","sessionToken":%q,`+
		`"expiration":%d}}`, roleToken, time.Now().Add(s.valid).UnixMilli())
}

func (s *standIn) container(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "container-token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"AccessKeyId":"AKIDHTTP","SecretAccessKey":"secretAKIDHTTP","Token":%q,"Expiration":%q}`,
		roleToken, s.expiry())
}

// metadata represents an instance that accepts only version 2 of the metadata protocol.
func (s *standIn) metadata(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "metadata-token":
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(r.URL.Path, "/"):
		fmt.Fprint(w, "instance-role")
	default:
		fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"AKIDEC2","SecretAccessKey":"secretAKIDEC2","Token":%q,`+
			`"Expiration":%q}`, roleToken, s.expiry())
	}
}

package config

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	mskiam "github.com/twmb/franz-go/pkg/sasl/aws"
)

const (
	mskBroker = "b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com:9098"

	webToken   = "token+of/the-pod"          // in the web identity token file
	baseSecret = "secret/of+the=environment" // of the access key AKIDENV
	roleToken  = "token+of/the==role"        // of all credentials that standIn issues
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

// isolate removes the AWS identity of this machine from the environment, and makes the SDK try each
// request once. It returns the home directory.
func isolate(t *testing.T) (home string) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	home = t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "AWS_CONFIG_FILE": filepath.Join(home, "config"),
		"AWS_SHARED_CREDENTIALS_FILE":       filepath.Join(home, "credentials"),
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	return home
}

func setBaseKeys(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", baseSecret)
}

// write writes a file below a directory.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mskConfig returns a configuration for AWS_MSK_IAM and an MSK cluster in us-east-1.
func mskConfig(keys AWS) *Config {
	c := defaults()
	c.Kafka.Brokers = []string{mskBroker}
	c.Kafka.SASL = SASL{Mechanism: mskIAM, AWS: keys}
	return c
}

// authenticate returns the message that a client of c sends to the broker.
func authenticate(t *testing.T, c *Config, addr string) map[string]string {
	t.Helper()
	m, err := c.mskIdentity()
	if err != nil {
		t.Fatal(err)
	}
	session, message, err := m.Authenticate(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	if done, reply, err := session.Challenge([]byte(`{"version":"2020_10_22"}`)); !done || reply != nil || err != nil {
		t.Errorf("challenge: %t, %q, %v", done, reply, err)
	}
	return parseMessage(t, message)
}

func parseMessage(t *testing.T, message []byte) (fields map[string]string) {
	t.Helper()
	if err := json.Unmarshal(message, &fields); err != nil {
		t.Fatalf("%s: %v", message, err)
	}
	delete(fields, "user-agent")
	return fields
}

// expectSignature checks that a client of c sends the same message as the mechanism of franz-go,
// which implements the signature itself.
func expectSignature(t *testing.T, c *Config, addr string, creds mskiam.Auth) {
	t.Helper()
	for range 3 { // the clock can reach the next second between the two messages
		got := authenticate(t, c, addr)
		_, message, err := creds.AsManagedStreamingIAMMechanism().Authenticate(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		want := parseMessage(t, message)
		if got["x-amz-date"] != want["x-amz-date"] {
			continue
		}
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("message %s\nwant    %s", g, w)
		}
		return
	}
	t.Error("the clock does not stand still")
}

func TestEveryProviderOfTheAWSChain(t *testing.T) {
	const region = "region = us-east-1\n"
	issued := func(id string) mskiam.Auth {
		return mskiam.Auth{AccessKey: id, SecretKey: "secret" + id, SessionToken: roleToken}
	}
	for _, test := range []struct {
		name  string
		setUp func(t *testing.T, s *standIn, home string)
		keys  AWS
		want  mskiam.Auth
		kind  string
	}{{
		name: "environment variables", setUp: func(t *testing.T, _ *standIn, home string) {
			setBaseKeys(t)
			write(t, home, "credentials", "[default]\naws_access_key_id=x\naws_secret_access_key=x\n")
		},
		want: mskiam.Auth{AccessKey: "AKIDENV", SecretKey: baseSecret}, kind: "environment variables",
	}, {
		name: "environment variables with a session token", setUp: func(t *testing.T, _ *standIn, _ string) {
			setBaseKeys(t)
			t.Setenv("AWS_SESSION_TOKEN", roleToken)
		},
		want: mskiam.Auth{AccessKey: "AKIDENV", SecretKey: baseSecret, SessionToken: roleToken},
		kind: "environment variables",
	}, {
		name: "shared file", setUp: func(t *testing.T, _ *standIn, home string) {
			write(t, home, "credentials", "[default]\naws_access_key_id=AKID1\naws_secret_access_key = secret=1\n")
		},
		want: mskiam.Auth{AccessKey: "AKID1", SecretKey: "secret=1"}, kind: "shared file, profile default",
	}, {
		name: "AWS_PROFILE", setUp: func(t *testing.T, _ *standIn, home string) {
			write(t, home, "credentials", "[default]\naws_access_key_id=x\naws_secret_access_key=x\n"+
				"[other]\naws_access_key_id=AKID2\naws_secret_access_key=secret2\naws_session_token=token2\n")
			t.Setenv("AWS_PROFILE", "other")
		},
		want: mskiam.Auth{AccessKey: "AKID2", SecretKey: "secret2", SessionToken: "token2"},
		kind: "shared file, profile other",
	}, {
		name: "key profile, which has precedence over variables", setUp: func(t *testing.T, _ *standIn, home string) {
			write(t, home, "credentials", "[other]\naws_access_key_id=AKID2\naws_secret_access_key=secret2\n")
			setBaseKeys(t)
		},
		keys: AWS{Profile: "other"},
		want: mskiam.Auth{AccessKey: "AKID2", SecretKey: "secret2"}, kind: "shared file, profile other",
	}, {
		name: "credential_process", setUp: func(t *testing.T, _ *standIn, home string) {
			out := write(t, home, "out.json", `{"Version":1,"AccessKeyId":"AKIDPROC","SecretAccessKey":"secretAKIDPROC",`+
				`"SessionToken":"`+roleToken+`"}`)
			write(t, home, "config", "[default]\n"+region+"credential_process = cat "+out+"\n")
		},
		want: issued("AKIDPROC"), kind: "credential_process, profile default",
	}, {
		name: "SSO", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_ENDPOINT_URL_SSO", s.URL)
			write(t, home, "config", "[default]\n"+region+"sso_session = work\nsso_account_id = 1\nsso_role_name = r\n"+
				"[sso-session work]\nsso_region = us-east-1\nsso_start_url = https://sso.test\n")
			cacheSSOToken(t, home, "work", time.Now().Add(time.Hour))
		},
		want: issued("AKIDSSO"), kind: "IAM Identity Center (SSO), profile default",
	}, {
		name: "SSO without a session", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_ENDPOINT_URL_SSO", s.URL)
			write(t, home, "config", "[default]\n"+region+"sso_account_id = 1\nsso_role_name = r\n"+
				"sso_region = us-east-1\nsso_start_url = https://sso.test\n")
			cacheSSOToken(t, home, "https://sso.test", time.Now().Add(time.Hour))
		},
		want: issued("AKIDSSO"), kind: "IAM Identity Center (SSO), profile default",
	}, {
		name: "web identity", setUp: func(t *testing.T, s *standIn, home string) {
			setWebIdentity(t, s, home)
		},
		want: issued("AKIDWEB"), kind: "web identity (IRSA), role arn:aws:iam::1:role/web",
	}, {
		name: "web identity in a profile", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
			write(t, home, "config", "[default]\n"+region+"role_arn = arn:aws:iam::1:role/web\n"+
				"web_identity_token_file = "+write(t, home, "web-token", webToken)+"\n")
		},
		want: issued("AKIDWEB"), kind: "web identity, role arn:aws:iam::1:role/web, profile default",
	}, {
		name: "container with full URI (EKS Pod Identity)", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, home, "token", "container-token"))
		},
		want: issued("AKIDHTTP"), kind: "container credentials (EKS Pod Identity or ECS)",
	}, {
		name: "container with relative URI (ECS)", setUp: func(t *testing.T, _ *standIn, _ string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token")
		},
		want: issued("AKIDHTTP"), kind: "container credentials (EKS Pod Identity or ECS)",
	}, {
		name: "EC2 instance role", setUp: func(t *testing.T, s *standIn, _ string) {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
		},
		want: issued("AKIDEC2"), kind: "EC2 instance role (instance metadata)",
	}, {
		name: "role of a profile", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
			s.role, s.external, s.session = "arn:aws:iam::1:role/profile", "x1", "s1"
			write(t, home, "credentials", "[base]\naws_access_key_id=AKIDENV\naws_secret_access_key="+baseSecret+"\n")
			write(t, home, "config", "[default]\n"+region+"source_profile = base\nrole_arn = "+s.role+
				"\nexternal_id = x1\nrole_session_name = s1\nduration_seconds = 3600\n")
		},
		want: issued("AKIDROLE"), kind: "role arn:aws:iam::1:role/profile, profile default",
	}, {
		name: "key role_arn", setUp: func(t *testing.T, s *standIn, _ string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
			setBaseKeys(t)
			s.role, s.external, s.session = "arn:aws:iam::1:role/cluster", "x:1", "me@host"
		},
		keys: AWS{RoleARN: "arn:aws:iam::1:role/cluster", ExternalID: "x:1", SessionName: "me@host"},
		want: issued("AKIDROLE"), kind: "role arn:aws:iam::1:role/cluster assumed with environment variables",
	}, {
		name: "key role_arn alone", setUp: func(t *testing.T, s *standIn, _ string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
			setBaseKeys(t)
			s.role, s.session = "arn:aws:iam::1:role/cluster", "segment-to-launchdarkly"
		},
		keys: AWS{RoleARN: "arn:aws:iam::1:role/cluster"},
		want: issued("AKIDROLE"), kind: "role arn:aws:iam::1:role/cluster assumed with environment variables",
	}} {
		t.Run(test.name, func(t *testing.T) {
			home := isolate(t)
			s := newStandIn(t)
			test.setUp(t, s, home)
			c := mskConfig(test.keys)
			if err := c.msk.load(c.Kafka, dialing(s, "169.254.170.2:80")); err != nil {
				t.Fatal(err)
			}
			expectSignature(t, c, mskBroker, test.want)
			if got, err := c.KafkaIdentity(t.Context()); err != nil || got != "AWS identity: "+test.kind+", region us-east-1" {
				t.Errorf("identity %q, %v, want %q", got, err, test.kind)
			}
		})
	}
}

// dialing returns an HTTP client that connects to s instead of to addr.
func dialing(s *standIn, addr string) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
			if to == addr {
				to = s.Listener.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		}
	})
}

func setWebIdentity(t *testing.T, s *standIn, home string) {
	t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/web")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, home, "web-token", webToken))
}

// setNoRole makes s the metadata endpoint of an instance without a role.
func setNoRole(t *testing.T, s *standIn, _ string) {
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	s.fail = http.NotFoundHandler()
}

// cacheSSOToken writes a token as the command aws sso login does.
func cacheSSOToken(t *testing.T, home, key string, expires time.Time) {
	t.Helper()
	hash := sha1.Sum([]byte(key))
	write(t, home, ".aws/sso/cache/"+hex.EncodeToString(hash[:])+".json",
		fmt.Sprintf(`{"accessToken":"sso-token","expiresAt":%q}`, expires.UTC().Format(time.RFC3339)))
}

func TestRegionOfAWSIdentity(t *testing.T) {
	for _, test := range []struct{ name, key, env, file, broker, want string }{
		{"key", "eu-west-1", "eu-west-2", "eu-west-3", mskBroker, "eu-west-1"},
		{"provisioned cluster", "", "eu-west-2", "eu-west-3", mskBroker, "us-east-1"},
		{"variable", "", "eu-west-2", "eu-west-3", "kafka.internal:9098", "eu-west-2"},
		{"profile", "", "", "eu-west-3", "kafka.internal:9098", "eu-west-3"},
		{"serverless cluster", "", "", "", "boot-a.c1.kafka-serverless.us-gov-west-1.amazonaws.com:9098", "us-gov-west-1"},
		{"VPC endpoint", "", "", "", "vpce-1.kafka.ap-south-2.vpce.amazonaws.com:14001", "ap-south-2"},
		{"China", "", "", "", "b-1.demo.abc.c2.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"},
		{"other name", "", "", "", "kafka.my-cluster-1.test:9098", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := isolate(t)
			setBaseKeys(t)
			if test.env != "" {
				t.Setenv("AWS_REGION", test.env)
			}
			if test.file != "" {
				write(t, home, "config", "[default]\nregion = "+test.file+"\n")
			}
			c := mskConfig(AWS{Region: test.key})
			c.Kafka.Brokers = []string{"10.0.0.1:9098", test.broker}
			_, err := c.KafkaOptions()
			if test.want == "" {
				if p, ok := errors.AsType[Problem](err); !ok || p.Key != "kafka.sasl.aws.region" {
					t.Errorf("unknown region: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			scope := "/" + test.want + "/kafka-cluster/"
			if got := authenticate(t, c, test.broker)["x-amz-credential"]; !strings.Contains(got, scope) {
				t.Errorf("signed for %s, want %s", got, scope)
			}
			t.Setenv("AWS_REGION", test.want) // for franz-go, which reads it if the name contains no region
			expectSignature(t, c, "kafka.internal:9098", mskiam.Auth{AccessKey: "AKIDENV", SecretKey: baseSecret})
		})
	}
}

func TestAWSCredentialsAreSharedByClientsAndRenewedBeforeTheyExpire(t *testing.T) {
	home := isolate(t)
	s := newStandIn(t)
	setWebIdentity(t, s, home)
	s.valid = refreshMargin / 2
	c := mskConfig(AWS{})
	connect := func(want int32) {
		t.Helper()
		if _, err := c.KafkaOptions(); err != nil {
			t.Fatal(err)
		}
		authenticate(t, c, mskBroker)
		if got := s.requests.Load(); got != want {
			t.Errorf("%d requests to STS, want %d", got, want)
		}
	}
	connect(1)
	s.fail = http.NotFoundHandler()
	connect(2) // with the old credentials
	c.msk.newest.Expires = time.Now().Add(-refreshMargin)
	if _, _, err := c.msk.Authenticate(t.Context(), mskBroker); err == nil {
		t.Error("expired credentials are used")
	}
	s.fail, s.valid = nil, time.Hour
	connect(4)
	connect(4)
	connect(4)
}

func TestLoadMakesNoAWSRequests(t *testing.T) {
	home := isolate(t)
	s := newStandIn(t)
	setWebIdentity(t, s, home)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	for _, use := range []Use{Service, Offline} {
		c, err := LoadFor(use, "", append(required, "S2LD_KAFKA_SASL_MECHANISM=AWS_MSK_IAM", "S2LD_KAFKA_TLS_ENABLED=true",
			"S2LD_KAFKA_SASL_AWS_REGION=us-east-1", "S2LD_KAFKA_SASL_AWS_ROLE_ARN=arn:aws:iam::123456789012:role/a/b"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.requests.Load(); got != 0 {
			t.Errorf("%d requests after loading the configuration", got)
		}
		if _, err := c.KafkaOptions(); err != nil {
			t.Fatal(err)
		}
		if got := s.requests.Load(); got != 0 {
			t.Errorf("%d requests before the first connection", got)
		}
	}
}

func TestErrorsOfAWSIdentityNameTheCauseAndNoSecret(t *testing.T) {
	rejected := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`+
			`<Code>AccessDenied</Code><Message>not allowed</Message></Error><RequestId>1</RequestId></ErrorResponse>`)
	}
	const longName = "a-role-whose-long-name-could-be-a-part-of-a-token"
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "no access with\n\x1bAuthorization: %s, again %[1]s and %[2]s by arn:aws:iam::1:role/%[3]s%[4]s",
			r.Header.Get("Authorization"), strings.Repeat("t0ken", 10), longName, strings.Repeat(" more", 10_000))
	}
	for _, test := range []struct {
		name   string
		setUp  func(t *testing.T, s *standIn, home string)
		keys   AWS
		want   []string
		advice string
	}{{
		name: "no credentials", setUp: setNoRole,
		want: []string{
			"no AWS credentials found: ", "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set", "AWS_WEB_IDENTITY_TOKEN_FILE",
			"profile default", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "; instance metadata: no EC2 IMDS role found", "404",
		},
		advice: "Give the pod, task, or instance an IAM role",
	}, {
		name: "no credentials in a profile", setUp: func(t *testing.T, s *standIn, home string) {
			setNoRole(t, s, home)
			write(t, home, "config", "[profile empty]\nregion = us-east-1\n")
			setBaseKeys(t)
		},
		keys:   AWS{Profile: "empty"},
		want:   []string{"no AWS credentials found: the shared AWS files contain no credentials for profile empty; "},
		advice: "Give the pod, task, or instance an IAM role",
	}, {
		name: "no credentials for a role", setUp: setNoRole,
		keys:   AWS{RoleARN: "arn:aws:iam::1:role/cluster"},
		want:   []string{"no AWS credentials found: ", "instance metadata: no EC2 IMDS role found"},
		advice: "Give the pod, task, or instance an IAM role",
	}, {
		name: "web identity rejected", setUp: func(t *testing.T, s *standIn, home string) {
			setWebIdentity(t, s, home)
			s.fail = http.HandlerFunc(rejected)
		},
		want: []string{
			"cannot get AWS credentials from web identity (IRSA), role arn:aws:iam::1:role/web: ", "AccessDenied: not allowed",
		},
		advice: "Check the role, its trust policy",
	}, {
		name: "role rejected", setUp: func(t *testing.T, s *standIn, _ string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
			setBaseKeys(t)
			s.fail = http.HandlerFunc(rejected)
		},
		keys: AWS{RoleARN: "arn:aws:iam::1:role/cluster"},
		want: []string{
			"cannot assume role arn:aws:iam::1:role/cluster with environment variables: ", "AccessDenied: not allowed",
		},
		advice: "Check that the role's trust policy allows this identity",
	}, {
		name: "STS unreachable", setUp: func(t *testing.T, s *standIn, home string) {
			setWebIdentity(t, s, home)
			t.Setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
		},
		want:   []string{"cannot get AWS credentials from web identity (IRSA)", "connection refused"},
		advice: "Check that the endpoint that issues the credentials is reachable.",
	}, {
		name: "token file missing", setUp: func(t *testing.T, s *standIn, home string) {
			setWebIdentity(t, s, home)
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(home, "none"))
		},
		want:   []string{"cannot get AWS credentials from web identity (IRSA)", "none: no such file"},
		advice: "Fix this source",
	}, {
		name: "container endpoint unreachable", setUp: func(t *testing.T, _ *standIn, home string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/v2/"+sentinel)
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, home, "token", sentinel))
		},
		want:   []string{`container credentials`, `"http://127.0.0.1:1"`, "connection refused"},
		advice: "Check that the endpoint that issues the credentials is reachable.",
	}, {
		name: "container endpoint with an invalid response", setUp: func(t *testing.T, s *standIn, _ string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", sentinel)
			s.fail = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, sentinel) })
		},
		want:   []string{"container credentials", "invalid character"},
		advice: "Fix this source",
	}, {
		name: "container endpoint that returns the token", setUp: func(t *testing.T, s *standIn, _ string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", sentinel)
			s.fail = http.HandlerFunc(echo)
		},
		want:   []string{"container credentials", "Authorization: [redacted], again [redacted] and", "::1:role/" + longName},
		advice: "Check the role, its trust policy",
	}, {
		name: "container endpoint that returns the token in a file", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, home, "token", sentinel))
			s.fail = http.HandlerFunc(echo)
		},
		want:   []string{"container credentials", "Authorization: [redacted]"},
		advice: "Check the role, its trust policy",
	}, {
		name: "STS that returns the token", setUp: func(t *testing.T, s *standIn, home string) {
			setWebIdentity(t, s, home)
			write(t, home, "web-token", sentinel)
			s.fail = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>InvalidToken</Code>`+
					`<Message>not %s</Message></Error></ErrorResponse>`, r.FormValue("WebIdentityToken"))
			})
		},
		want:   []string{"web identity (IRSA)", "InvalidToken: not [redacted]"},
		advice: "Check the role, its trust policy",
	}, {
		name: "STS with an invalid response", setUp: func(t *testing.T, s *standIn, home string) {
			setWebIdentity(t, s, home)
			s.fail = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<"+sentinel) })
		},
		want:   []string{"web identity (IRSA)"},
		advice: "Fix this source",
	}, {
		name: "process with an invalid output", setUp: func(t *testing.T, _ *standIn, home string) {
			write(t, home, "config", "[default]\ncredential_process = echo "+sentinel+"\n")
		},
		want:   []string{"from credential_process, profile default: the output of the command is invalid"},
		advice: "Fix this source",
	}, {
		name: "process with an invalid time", setUp: func(t *testing.T, _ *standIn, home string) {
			out := write(t, home, "out.json",
				`{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","Expiration":"`+sentinel+`"}`)
			write(t, home, "config", "[default]\ncredential_process = cat "+out+"\n")
		},
		want:   []string{"the output of the command is invalid"},
		advice: "Fix this source",
	}, {
		name: "process that fails", setUp: func(t *testing.T, _ *standIn, home string) {
			write(t, home, "config", "[default]\ncredential_process = echo "+sentinel+"; exit 3\n")
		},
		want:   []string{"credential_process, profile default: ", "exit status 3"},
		advice: "Fix this source",
	}, {
		name: "process without a shell", setUp: func(t *testing.T, _ *standIn, home string) {
			write(t, home, "config", "[default]\ncredential_process = echo "+sentinel+"\n")
			t.Setenv("PATH", home)
		},
		want:   []string{"credential_process, profile default: ", `"sh": executable file not found`},
		advice: "The container image has no shell.",
	}, {
		name: "SSO session expired", setUp: func(t *testing.T, s *standIn, home string) {
			t.Setenv("AWS_ENDPOINT_URL_SSO", s.URL)
			write(t, home, "config", "[default]\nsso_account_id = 1\nsso_role_name = r\n"+
				"sso_region = us-east-1\nsso_start_url = https://sso.test\n")
			cacheSSOToken(t, home, "https://sso.test", time.Now().Add(-time.Hour))
		},
		want:   []string{"IAM Identity Center (SSO)", "expired"},
		advice: "Fix this source",
	}} {
		t.Run(test.name, func(t *testing.T) {
			home := isolate(t)
			s := newStandIn(t)
			test.setUp(t, s, home)
			m, err := mskConfig(test.keys).mskIdentity()
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = m.Authenticate(t.Context(), mskBroker)
			var advised interface{ Advice() string }
			if !errors.As(err, &advised) {
				t.Fatalf("error without advice: %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v\nlacks %q", err, part)
				}
			}
			if test.advice == "" || !strings.HasPrefix(advised.Advice(), test.advice) {
				t.Errorf("%v\nadvice %q, want %q", err, advised.Advice(), test.advice)
			}
			text := err.Error() + advised.Advice()
			for _, secret := range []string{sentinel, webToken, "t0kent0ken", "sso-token", baseSecret, "AKID"} {
				if strings.Contains(text, secret) {
					t.Errorf("%v\nreveals %s", err, secret)
				}
			}
			if strings.ContainsAny(text, "\n\x1b") || len(text) > 1000 {
				t.Errorf("%.2000q is not a short line", text)
			}
		})
	}
}

func TestUnknownProfileIsReported(t *testing.T) {
	isolate(t)
	_, err := mskConfig(AWS{Profile: "none"}).KafkaOptions()
	if err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
}

func TestWaitForAWSCredentialsIsLimited(t *testing.T) {
	home := isolate(t)
	s := newStandIn(t)
	setWebIdentity(t, s, home)
	t.Setenv("AWS_MAX_ATTEMPTS", "")
	synctest.Test(t, func(t *testing.T) {
		silent := awshttp.NewBuildableClient().WithTimeout(attemptTimeout).WithTransportOptions(func(tr *http.Transport) {
			tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
				conn, _ := net.Pipe() // nobody reads
				return conn, nil
			}
		})
		c := mskConfig(AWS{})
		if err := c.msk.load(c.Kafka, silent); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		_, _, err := c.msk.Authenticate(t.Context(), mskBroker)
		if err == nil || time.Since(started) != identityTimeout {
			t.Errorf("%v after %v", err, time.Since(started))
		}
		time.Sleep(time.Minute) // until the requests in flight have timed out
		ctx, cancel := context.WithTimeout(t.Context(), identityTimeout-time.Millisecond)
		defer cancel()
		_, err = c.KafkaIdentity(ctx)
		if failure, ok := errors.AsType[*identityError](err); !ok || !strings.Contains(failure.advice, "is reachable") {
			t.Errorf("caller that does not wait any longer: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, _, err := c.msk.Authenticate(ctx, mskBroker); !errors.Is(err, context.Canceled) {
			t.Errorf("client closed: %v", err)
		}
		time.Sleep(time.Minute) // until the requests in flight have timed out
	})
}

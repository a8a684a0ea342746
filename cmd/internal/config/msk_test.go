package config

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	mskiam "github.com/twmb/franz-go/pkg/sasl/aws"
)

const (
	mskBroker = "b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com:9098"

	webToken   = "token+of/the-pod"          // in the web identity token file
	baseSecret = "secret/of+the=environment" // of the access key AKIDENV
	roleToken  = "token+of/the==role"        // of all credentials that standIn issues
)

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
	problem := c.KafkaCredentialsProblem()
	if !strings.Contains(problem, "cannot get AWS credentials from web identity") ||
		!strings.Contains(problem, " The old credentials are valid for another 2m2") {
		t.Errorf("problem %q", problem)
	}
	c.msk.newest.Expires = time.Now().Add(-refreshMargin)
	if _, _, err := c.msk.Authenticate(t.Context(), mskBroker); err == nil {
		t.Error("expired credentials are used")
	}
	s.fail, s.valid = nil, time.Hour
	connect(4)
	connect(4)
	connect(4)
	if problem := c.KafkaCredentialsProblem(); problem != "" {
		t.Errorf("problem %q after the credentials were renewed", problem)
	}
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

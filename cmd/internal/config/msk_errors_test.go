package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

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

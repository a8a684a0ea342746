package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

func TestRESTURLBelongsToTheEventsURL(t *testing.T) {
	for events, want := range map[string]string{
		"https://events.launchdarkly.com":     "https://app.launchdarkly.com",
		"https://events.launchdarkly.com:443": "https://app.launchdarkly.com",
		"https://events.eu.launchdarkly.com":  "https://app.eu.launchdarkly.com",
		"https://events.launchdarkly.us":      "https://app.launchdarkly.us",
		"https://events.launchdarkly.test":    "",
		"http://localhost:8080":               "",
	} {
		if got := (LaunchDarkly{EventsURL: events}).RESTURL(); got != want {
			t.Errorf("%s: %q, want %q", events, got, want)
		}
		if got := (LaunchDarkly{EventsURL: events, APIURL: "https://ld.test"}).RESTURL(); got != "https://ld.test" {
			t.Errorf("%s: %q, want api_url", events, got)
		}
	}
}

func TestAPINamesEveryKeyToSet(t *testing.T) {
	empty := writeFile(t, "empty", "\n")
	for _, test := range []struct {
		env  []string
		want []string
	}{
		{
			nil,
			[]string{
				"launchdarkly.api_token: must be set, inline or by api_token_file",
				"launchdarkly.project_key: must be set",
			},
		},
		{
			[]string{
				"S2LD_LAUNCHDARKLY_EVENTS_URL=https://gateway.test", "S2LD_LAUNCHDARKLY_PROJECT_KEY=p",
				"S2LD_LAUNCHDARKLY_API_TOKEN=t",
			},
			[]string{"launchdarkly.api_url: must be set, because events_url is not one of LaunchDarkly's"},
		},
		{
			[]string{"S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_API_TOKEN_FILE=/nowhere/t"},
			[]string{
				"launchdarkly.api_token_file: cannot read /nowhere/t: no such file or directory " +
					"(S2LD_LAUNCHDARKLY_API_TOKEN_FILE)",
			},
		},
		{
			[]string{
				"S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_API_TOKEN_FILE=" + empty,
				"S2LD_LAUNCHDARKLY_CA_FILE=" + empty,
			},
			[]string{
				"launchdarkly.api_token_file: " + empty + " is empty (S2LD_LAUNCHDARKLY_API_TOKEN_FILE)",
				"launchdarkly.ca_file: no PEM certificate in " + empty + " (S2LD_LAUNCHDARKLY_CA_FILE)",
			},
		},
	} {
		c, err := LoadFor(Offline, "", slices.Concat(required, test.env))
		if err != nil {
			t.Fatal(err)
		}
		client, err := c.API("1")
		problems, _ := errors.AsType[Problems](err)
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		if client != nil || !slices.Equal(got, test.want) {
			t.Errorf("%v:\ngot  %q\nwant %q", test.env, got, test.want)
		}
	}
}

// The run command must start where only the other commands have the token.
func TestServiceDoesNotReadTheTokenOfTheAPI(t *testing.T) {
	if _, err := Load("", slices.Concat(required, []string{"S2LD_LAUNCHDARKLY_API_TOKEN_FILE=/nowhere/t"})); err != nil {
		t.Error(err)
	}
}

func TestAPIAlsoTrustsTheCAFileAndReadsTheTokenAgain(t *testing.T) {
	project := ldtest.Sample.Project
	server := httptest.NewTLSServer(ldtest.New(ldtest.Config{API: &ldtest.API{
		Metrics: map[string][]ldtest.Metric{project: {{Key: "a"}}},
	}}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	token := writeFile(t, "token", ldtest.APIToken+"\n")
	c, err := Load("", slices.Concat(required, []string{
		"S2LD_LAUNCHDARKLY_API_URL=" + server.URL, "S2LD_LAUNCHDARKLY_PROJECT_KEY=" + project,
		"S2LD_LAUNCHDARKLY_API_TOKEN_FILE=" + token, "S2LD_LAUNCHDARKLY_CA_FILE=" + writeFile(t, "ca.pem", string(ca)),
	}))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := c.LaunchDarkly.apiRootCAs()
	if err != nil {
		t.Fatal(err)
	}
	if both, err := x509.SystemCertPool(); err != nil || !both.AppendCertsFromPEM(ca) || !both.Equal(roots) {
		t.Errorf("trusts other authorities than the system's and those in ca_file (%v)", err)
	}
	client, err := c.API("1")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := client.Metrics(t.Context(), project, false)
	if err != nil || len(metrics) != 1 {
		t.Fatalf("%d metrics, %v", len(metrics), err)
	}
	if err := os.WriteFile(token, []byte("revoked"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = client.Metrics(t.Context(), project, false)
	failure, ok := errors.AsType[*ldapi.Error](err)
	if !ok || failure.Status != 401 || strings.Contains(err.Error(), "revoked") {
		t.Error(err)
	}
}

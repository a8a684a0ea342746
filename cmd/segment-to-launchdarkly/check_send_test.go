package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// sendWorld returns a world with a fake LaunchDarkly and an unreachable broker.
func sendWorld(t *testing.T, ld http.Handler) *world {
	t.Helper()
	server := httptest.NewServer(ld)
	t.Cleanup(server.Close)
	w := &world{}
	return w.set("S2LD_KAFKA_BROKERS=127.0.0.1:1", "S2LD_KAFKA_TOPICS=segment", "S2LD_LAUNCHDARKLY_EVENTS_URL="+server.URL,
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID="+ldtest.Sample.ClientSideID)
}

// send runs check with an event and returns the output line about the event.
func (w *world) send(t *testing.T, event string) string {
	t.Helper()
	out, stderr, _ := run(w.sys, "check", "--send", event)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if last := lines[len(lines)-1]; stderr == "" && strings.Contains(last, fmt.Sprintf("event %q: ", event)) {
		return last
	}
	t.Fatalf("%s\n%s", out, stderr)
	return ""
}

// posts returns the number of attempts to send an event.
func posts(ld *ldtest.Server) (n int) {
	for _, r := range ld.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

var metricImport = []string{
	"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=", "S2LD_LAUNCHDARKLY_ENDPOINT=metric_import",
	"S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4", "S2LD_LAUNCHDARKLY_PROJECT_KEY=" + ldtest.Sample.Project,
	"S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=" + ldtest.Sample.Key, "S2LD_LAUNCHDARKLY_ACCESS_TOKEN=" + ldtest.Sample.Token,
}

func TestCheckSendSendsOneEventThatCounts(t *testing.T) {
	ld := ldtest.New(ldtest.Config{Retain: true})
	for i, test := range []struct {
		environ []string
		keys    string
	}{
		{nil, `"userKey":"segment-to-launchdarkly-check"`},
		{nil, `"userKey":"segment-to-launchdarkly-check"`}, // counts again
		{
			[]string{
				"S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4", "S2LD_SEGMENT_UNWRAP=event",
				"S2LD_LAUNCHDARKLY_CONTEXTS=user=userId,anonymousId;account=context.groupId",
			},
			`"contextKeys":{"account":"segment-to-launchdarkly-check","user":"segment-to-launchdarkly-check"}`,
		},
		{
			slices.Concat(metricImport, []string{"S2LD_BATCH_GZIP=false"}),
			`"contextKeys":{"unauthenticatedUser":"segment-to-launchdarkly-check","user":"segment-to-launchdarkly-check"}`,
		},
	} {
		event := `Order "Completed"`
		line := sendWorld(t, ld).set(test.environ...).send(t, event)
		want := `^ok    event .*responded with 202 Accepted in \d.*event explorer.*"Order \\"Completed\\""\.$`
		if !regexp.MustCompile(want).MatchString(line) {
			t.Errorf("%s, want %s", line, want)
		}
		events := ld.Events()
		if len(events) != i+1 {
			t.Fatalf("%d events, want %d", len(events), i+1)
		}
		var sent struct {
			Key          string
			CreationDate int64
		}
		err := json.Unmarshal(events[i], &sent)
		age := time.Since(time.UnixMilli(sent.CreationDate)).Abs()
		if err != nil || sent.Key != event || age > time.Minute || !strings.Contains(string(events[i]), test.keys) {
			t.Errorf("%s, want %s (%v)", events[i], test.keys, err)
		}
	}
	if report := ld.Report(); len(report.Violations) != 0 || report.Dropped != 0 {
		t.Errorf("%+v", report)
	}
}

func TestEachCheckSendHasItsOwnPayloadID(t *testing.T) {
	cfg, err := config.LoadFor(config.Service, "", sendWorld(t, http.NotFoundHandler()).sys.environ)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // the time does not advance, so the bodies are equal
		var parts [2]sink.Part
		for i := range parts {
			batch, err := checkBatch(cfg, "x")
			if err != nil {
				t.Fatal(err)
			}
			parts[i] = batch.Parts("")[0]
		}
		if parts[0].Sum != parts[1].Sum || parts[0].ID == parts[1].ID {
			t.Errorf("%+v", parts)
		}
	})
}

func TestCheckSendReportsAnUnusableToken(t *testing.T) {
	token := writeFile(t, "token", "hunter\x012")
	w := sendWorld(t, http.NotFoundHandler()).set(metricImport...)
	w.set("S2LD_LAUNCHDARKLY_ACCESS_TOKEN=", "S2LD_LAUNCHDARKLY_ACCESS_TOKEN_FILE="+token)
	want := `FAIL  event "x": the value of the header Authorization contains a control character. ` +
		`Fix launchdarkly.access_token or launchdarkly.header_files.`
	if line := w.send(t, "x"); line != want {
		t.Error(line)
	}
}

func TestCheckWithoutSendSendsNothing(t *testing.T) {
	ld := ldtest.New(ldtest.Config{Retain: true})
	w := sendWorld(t, ld)
	run(w.sys, "check")
	if n := posts(ld); n != 0 {
		t.Errorf("%d events were sent", n)
	}
	for args, want := range map[string]string{
		"check --offline --send x": "--offline, which makes no connections",
		"check --send=":            "--send: must be the name of an event",
	} {
		if out, stderr, code := run(w.sys, strings.Fields(args)...); code != exitUsage || out != "" ||
			!strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s%s", args, code, out, stderr)
		}
	}
}

// A retry would succeed, because the script has only one fault.
func TestCheckSendReportsResponsesWithAdvice(t *testing.T) {
	for _, c := range []struct {
		environ []string
		fault   ldtest.Fault
		want    string
	}{
		{nil, ldtest.Fault{Status: 404}, "404 Not Found...Copy the client-side ID"},
		{nil, ldtest.Fault{Status: 401}, "401 Unauthorized...Fix launchdarkly.events_url, or find out"},
		{nil, ldtest.Fault{Status: 302}, "302 Found...Fix launchdarkly.events_url, or find out"},
		{nil, ldtest.Fault{Status: 400}, "400 Bad Request...Fix launchdarkly.events_url, or find out"},
		{nil, ldtest.Fault{Status: 413}, "413 Request Entity Too Large...Fix launchdarkly.events_url, or"},
		{nil, ldtest.Fault{Status: 429}, "429 Too Many Requests...Repeat the check later."},
		{nil, ldtest.Fault{Status: 503, Accepted: true}, "503 Service Unavailable...Repeat the check later."},
		{nil, ldtest.Fault{Kind: ldtest.Reset}, "...Fix launchdarkly.events_url or the network"},
		{nil, ldtest.Fault{Kind: ldtest.Truncated, Accepted: true}, "202 Accepted...The response was incomplete."},
		{metricImport, ldtest.Fault{Status: 404}, "404 Not Found...Fix launchdarkly.project_key"},
		{metricImport, ldtest.Fault{Status: 403}, "403 Forbidden...Fix launchdarkly.access_token"},
	} {
		ld := ldtest.New(ldtest.Config{Retain: true})
		ld.Script(c.fault)
		line := sendWorld(t, ld).set(c.environ...).send(t, "x")
		response, advice, _ := strings.Cut(c.want, "...")
		if !strings.HasPrefix(line, "FAIL") || !strings.Contains(line, response) || !strings.Contains(line, advice) {
			t.Errorf("%v: %s, want %s", c.fault, line, c.want)
		}
		if n := posts(ld); n != 1 {
			t.Errorf("%v: sent %d times", c.fault, n)
		}
	}
}

func TestCheckSendSkipsTheEventWhenLaunchDarklyIsUnreachable(t *testing.T) {
	w := sendWorld(t, http.NotFoundHandler()).set("S2LD_LAUNCHDARKLY_EVENTS_URL=http://127.0.0.1:1")
	if line := w.send(t, "x"); line != `skip  event "x": not sent, because another check of LaunchDarkly failed` {
		t.Error(line)
	}
	if _, _, code := run(w.sys, "check", "--send", "x"); code != exitFailure {
		t.Errorf("exit %d", code)
	}
}

// silent is an [http.RoundTripper] that never responds.
type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func TestCheckSendIsBoundedInTime(t *testing.T) {
	environ := sendWorld(t, http.NotFoundHandler()).set("S2LD_DELIVERY_TIMEOUT=5m").sys.environ
	cfg, err := config.LoadFor(config.Service, "", environ)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		start := time.Now()
		c := &checks{out: &out}
		c.checkSend(cfg, "x", silent{})
		if took := time.Since(start); took != checkTimeout || !c.failed || !strings.Contains(out.String(), "in time") {
			t.Errorf("%v: %s", took, out.String())
		}
	})
}

// A gateway in front of LaunchDarkly can have a certificate of its own, and can require a header.
func TestCheckSendsTheHeadersOfAGateway(t *testing.T) {
	ld := ldtest.New(ldtest.Config{Retain: true})
	gateway := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "gateway-secret" || r.Header.Get("X-Team") != "growth" {
			http.Error(w, "denied: "+r.Header.Get("X-Key"), http.StatusForbidden)
			return
		}
		ld.ServeHTTP(w, r)
	}))
	defer gateway.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: gateway.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	write := func(value string) {
		if err := os.WriteFile(key, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := sendWorld(t, ld).set("S2LD_LAUNCHDARKLY_EVENTS_URL=" + gateway.URL)
	if line := w.send(t, "e"); !strings.Contains(line, "not sent") { // the certificate is not trusted
		t.Error(line)
	}
	w.set("S2LD_LAUNCHDARKLY_CA_FILE="+ca, "S2LD_LAUNCHDARKLY_HEADERS=X-Team=growth",
		"S2LD_LAUNCHDARKLY_HEADER_FILES=X-Key="+key)
	write("other-secret")
	if line := w.send(t, "e"); !strings.Contains(line, "403 Forbidden") || strings.Contains(line, "secret") {
		t.Error(line)
	}
	write("gateway-secret")
	if line := w.send(t, "e"); !strings.HasPrefix(line, "ok ") {
		t.Error(line)
	}
	if n := len(ld.Events()); n != 1 {
		t.Errorf("%d events counted, want 1", n)
	}
}

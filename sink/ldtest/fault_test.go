package ldtest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// bubble returns a fake that retains everything, and a client with in-memory connections that are
// not reused. It must be called inside synctest.Test.
func bubble(t *testing.T) (*ldtest.Server, *http.Client) {
	t.Helper()
	ld := ldtest.New(ldtest.Config{Retain: true})
	pipe := ldtest.NewPipe()
	srv := &http.Server{Handler: ld}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(pipe) //nolint:errcheck // always ErrServerClosed
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return ld, &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext, DisableKeepAlives: true}}
}

// view sends a request once and describes what the client sees. The description is the kind of
// error, or the status, followed by "cut" if the body is truncated.
func view(client *http.Client, r *http.Request) string {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return "broken"
	case err != nil && strings.Contains(err.Error(), "malformed HTTP"):
		return "malformed"
	case err != nil:
		return err.Error()
	}
	defer resp.Body.Close()
	seen := strconv.Itoa(resp.StatusCode)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		seen += " cut"
	}
	return seen
}

// views lists the view of each fault, without effect (before) and after the request was accepted.
var views = []struct{ fault, before, after string }{
	{"200", "", "200"},
	{"302", "302", "302"},
	{"400", "400", "400"},
	{"401", "401", "401"},
	{"413", "413", "413"},
	{"429", "429", "429"},
	{"500", "500", "500"},
	{"502", "502", "502"},
	{"503", "503", "503"},
	{"504", "504", "504"},
	{"hang", "timeout", "timeout"},
	{"hang,for=1s", "broken", "broken"},
	{"slow,for=1s", "202", "202"},
	{"slow,for=1m", "timeout", "timeout"},
	{"reset-unread", "broken", ""},
	{"reset", "broken", "broken"},
	{"cut-off", "broken", "broken"},
	{"truncated", "503 cut", "202 cut"},
	{"truncated,status=400", "400 cut", "400 cut"},
	{"garbage", "malformed", "malformed"},
}

func TestEachFaultFailsWithoutEffectAndAfterAccepting(t *testing.T) {
	for _, v := range views {
		t.Run(v.fault, func(t *testing.T) {
			if v.before != "" {
				synctest.Test(t, func(t *testing.T) {
					ld, client := bubble(t)
					takesEffect := strings.HasPrefix(v.fault, "slow") && v.before == "202"
					checkFault(t, ld, client, "http://ld", v.fault, v.before, takesEffect, synctest.Wait)
				})
			}
			if v.after != "" {
				synctest.Test(t, func(t *testing.T) {
					ld, client := bubble(t)
					checkFault(t, ld, client, "http://ld", v.fault+",accepted", v.after, true, synctest.Wait)
				})
			}
		})
	}
}

// Over TCP the client sees a reset. An in-memory connection can only be closed.
func TestFaultsLookTheSameOverTCP(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, v := range views {
		if strings.HasPrefix(v.fault, "hang") || strings.HasPrefix(v.fault, "slow") {
			continue // this test runs in real time
		}
		if strings.HasPrefix(v.fault, "reset") {
			v.before, v.after = strings.Replace(v.before, "broken", "reset", 1), strings.Replace(v.after, "broken", "reset", 1)
		}
		if v.before != "" {
			ld, url := serve(t, ldtest.Config{})
			checkFault(t, ld, client, url, v.fault, v.before, false, func() {})
		}
		if v.after != "" {
			ld, url := serve(t, ldtest.Config{})
			checkFault(t, ld, client, url, v.fault+",accepted", v.after, true, func() {})
		}
	}
}

// checkFault sends a request that meets the fault, and then resends it. The request must count
// exactly once, the first time if takesEffect. settle waits until the fake has detected that the
// client has disconnected.
func checkFault(t *testing.T, ld *ldtest.Server, client *http.Client, url, text, want string, takesEffect bool,
	settle func()) {
	t.Helper()
	fault, err := ldtest.ParseFault(text)
	if err != nil {
		t.Fatal(err)
	}
	ld.Script(fault)
	body := "[" + event3 + "]"

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got := view(client, bulk(t, url, id1, body).WithContext(ctx)); got != want {
		t.Errorf("%s: the client sees %q, want %q", text, got, want)
	}
	settle()
	first := ld.Requests()[0]
	if first.Accepted != takesEffect || ld.Report().Processed != count(takesEffect) {
		t.Errorf("%s: accepted %v, %d events processed; want accepted %v", text, first.Accepted, ld.Report().Processed,
			takesEffect)
	}
	if wantHash := (first.Fault.Kind != ldtest.ResetUnread); wantHash != (first.Hash == sha256.Sum256([]byte(body))) {
		t.Errorf("%s: hash %x", text, first.Hash)
	}
	if first.Fault != fault || ld.Report().Faults[fault.String()] != 1 {
		t.Errorf("%s: recorded as %v, reported as %v", text, first.Fault, ld.Report().Faults)
	}

	if got := view(client, bulk(t, url, id1, body)); got != "202" {
		t.Errorf("%s: after the fault, the client sees %q, want 202", text, got)
	}
	report := ld.Report()
	if report.Processed != 1 || report.Duplicates != count(takesEffect) || report.ViolationCount != 0 {
		t.Errorf("%s: report: %+v", text, report)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestFaultTextRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fault := rapid.SampledFrom(append(ldtest.TransientFaults(),
			ldtest.Fault{},
			ldtest.Fault{Status: 307},
			ldtest.Fault{Status: 429, Accepted: true, RetryAfter: "Sun, 06 Nov 2033 08:49:37 GMT"},
			ldtest.Fault{Status: 429, RetryAfter: "soon,accepted"},
			ldtest.Fault{Kind: ldtest.Truncated, Status: 401},
			ldtest.Fault{Kind: ldtest.Hang},
		)).Draw(t, "fault")
		got, err := ldtest.ParseFault(fault.String())
		if err != nil || got != fault {
			t.Fatalf("%q parsed as %#v, %v", fault, got, err)
		}
	})
}

func TestInvalidFaultsAreErrors(t *testing.T) {
	for _, text := range []string{
		"", "nonsense", "50x", "99", "1000", "-1", "202", "204", "truncated,status=200", "truncated,status=7",
		"reset-unread,accepted", "slow", "slow,for=-1s", "hang,for=soon", "503,for=1s", "pass,accepted",
		"reset,status=500", "hang,retry-in=1s", "cut-off,retry-after=1", "503,accept", "503,retry-in=", "503,",
	} {
		if fault, err := ldtest.ParseFault(text); err == nil {
			t.Errorf("%q parsed as %#v", text, fault)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for a 202 that is not accepted")
		}
	}()
	ldtest.New(ldtest.Config{}).Script(ldtest.Fault{Status: 202})
}

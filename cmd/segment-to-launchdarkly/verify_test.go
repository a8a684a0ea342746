package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// ledger is a fake LaunchDarkly and the replicas that deliver to it.
type ledger struct {
	*world
	ld       *ldtest.Server
	replicas []app.Delivered
	flags    []string // addresses of the replicas
}

// newLedger returns a ledger with n replicas that began to count at since.
func newLedger(t *testing.T, n int, since time.Time, uncounted ...string) *ledger {
	t.Helper()
	l := &ledger{ld: ldtest.New(ldtest.Config{API: &ldtest.API{Uncounted: uncounted}}), replicas: make([]app.Delivered, n)}
	for i := range n {
		l.replicas[i] = app.Delivered{Replica: fmt.Sprint("r-", i), Group: "segment-to-launchdarkly", Since: since,
			Environment: app.Environment{EnvironmentKey: ldtest.Sample.Key}}
		address := serveOnce(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(l.replicas[i])
		}))
		l.flags = append(l.flags, "--replica", address)
	}
	l.world = (&world{}).set(
		"S2LD_LAUNCHDARKLY_API_URL="+serveOnce(t, l.ld), "S2LD_LAUNCHDARKLY_API_TOKEN="+ldtest.APIToken,
		"S2LD_LAUNCHDARKLY_PROJECT_KEY="+ldtest.Sample.Project, "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY="+ldtest.Sample.Key)
	return l
}

// serveOnce serves h until the test ends, and closes each connection after a response, so that no
// connection remains in a bubble.
func serveOnce(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.SetKeepAlivesEnabled(false)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// inBubble runs a test in a bubble, where the time is 2000-01-01T00:00:00Z. The servers must be
// started outside, because a bubble's time stands still while a goroutine waits for a connection.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt) // starts a goroutine that never exits, if it is the first call
	signal.Stop(signals)
	synctest.Test(t, test)
}

// direct is a transport that calls a handler.
type direct struct{ http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	return w.Result(), nil
}

// deliver sends n events to LaunchDarkly. The replica with the given index counts them; -1 is
// another sender.
func (l *ledger) deliver(t *testing.T, replica, n int, key string) {
	t.Helper()
	client, err := sink.New(sink.Config{
		EventsURL: "http://ld", Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID, Schema: 3,
		Version: "test", MaxInFlight: 1, Timeout: time.Second, BackoffMin: 1, BackoffMax: 1, Transport: direct{l.ld},
	})
	if err != nil {
		t.Fatal(err)
	}
	buffer := sink.NewBuffer(n, 1<<20)
	body := buffer.Bytes()
	for range n {
		body = fmt.Appendf(body, `{"kind":"custom","key":%q,"userKey":"u","creationDate":%d,"data":{}},`,
			key, time.Now().UnixMilli())
	}
	buffer.Extend(body, n, 0, time.Now())
	done := make(chan error, 1)
	client.Deliver(t.Context(), sink.Delivery{
		Batch: buffer.Seal(sink.Source{TopicID: uuid.New()}, -1, 0, 1, true), Done: func(err error) { done <- err },
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	client.Close()
	if replica < 0 {
		return
	}
	hour := consumer.DeliveredHour{Hour: time.Now().UTC().Truncate(time.Hour), Events: map[string]int64{key: int64(n)}}
	l.replicas[replica].Hours = append(l.replicas[replica].Hours, hour)
}

// verify runs verify with the replicas' addresses.
func (l *ledger) verify(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return run(l.sys, append(append([]string{"verify"}, l.flags...), args...)...)
}

// midnight is the time at which a bubble begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// The hour from 02:00 ended less than two hours before the comparison.
func TestVerifyShowsAnUncountedEventKey(t *testing.T) {
	l := newLedger(t, 2, midnight, "Signed Up")
	inBubble(t, func(t *testing.T) {
		time.Sleep(10 * time.Minute)
		l.deliver(t, 0, 300, "Order Completed")
		l.deliver(t, 0, 40, "Signed Up")
		l.deliver(t, -1, 50, "Page Viewed")
		time.Sleep(time.Hour)
		l.deliver(t, 1, 1200, "Order Completed")
		l.deliver(t, 1, 5, "Plan Upgraded")
		time.Sleep(time.Hour)
		l.deliver(t, 1, 70, "Order Completed")
		l.replicas[1].Hours = l.replicas[1].Hours[:2] // this hour must not matter
		time.Sleep(2 * time.Hour)
		const want = `Replica r-0 started at 2000-01-01T00:00:00Z
Replica r-1 started at 2000-01-01T00:00:00Z
Hours 2000-01-01T00:00:00Z to 2000-01-01T02:00:00Z compared

    delivered        counted     difference  event key        verdict
           40              0            -40  Signed Up        DIFFERS: LaunchDarkly counted none
        1,500          1,500              0  Order Completed  ok
            5              5              0  Plan Upgraded    ok
            0             50             50  Page Viewed      not delivered by this group

A key differs if its totals differ by more than 0.5% of the delivered events plus ten events.
LaunchDarkly's API is in beta, and its documentation does not fully define which events count.
Other senders of the same key, such as SDKs, raise the count.
Deliveries of replicas that have stopped are missing. They are only in their log entries "events delivered".
`
		got, stderr, code := l.verify(t, "--from", "2000-01-01T00:00:00Z", "--to", "2000-01-01T04:00:00Z")
		if code != exitFailure || got != want || stderr != "" {
			t.Errorf("exit %d\n%s\n%s\nwant\n%s", code, stderr, got, want)
		}
	})
}

func TestVerifyFailsOnlyBeyondTheTolerance(t *testing.T) {
	for others, want := range map[int]int{0: 0, 15: 0, 16: exitFailure} { // 15 is 0.5% of 1000 plus 10
		l := newLedger(t, 1, midnight)
		inBubble(t, func(t *testing.T) {
			l.deliver(t, 0, 1000, "Order Completed")
			if others > 0 {
				l.deliver(t, -1, others, "Order Completed")
			}
			time.Sleep(3 * time.Hour)
			out, stderr, code := l.verify(t, "--from", "2000-01-01T00:00:00Z", "--to", "2000-01-01T01:00:00Z")
			if code != want || strings.Contains(out, "DIFFERS: LaunchDarkly counted more") != (code != 0) {
				t.Errorf("%d events of another sender: exit %d, want %d\n%s\n%s", others, code, want, stderr, out)
			}
		})
	}
}

func TestVerifyDoesNotCompareIncompleteHours(t *testing.T) {
	l := newLedger(t, 1, midnight.Add(time.Hour))
	inBubble(t, func(t *testing.T) {
		l.deliver(t, -1, 100, "Order Completed") // before the replica restarted
		time.Sleep(time.Hour)
		l.deliver(t, 0, 200, "Order Completed")
		time.Sleep(3 * time.Hour)
		period := []string{"--from", "2000-01-01T00:00:00Z", "--to", "2000-01-01T02:00:00Z"}
		const missing = "2000-01-01T00:00:00Z to 2000-01-01T01:00:00Z not compared: " +
			"replica r-0 started at 2000-01-01T01:00:00Z"
		out, stderr, code := l.verify(t, period...)
		if code != 0 || !strings.Contains(out, missing) || !strings.Contains(out, "  200            200  ") {
			t.Errorf("exit %d\n%s\n%s", code, stderr, out)
		}
		out, stderr, code = l.verify(t, append(period, "--incomplete")...)
		if code != exitFailure || !strings.Contains(out, "compared although incomplete: replica r-0 started at") ||
			!strings.Contains(out, "  200            300  ") {
			t.Errorf("with --incomplete: exit %d\n%s\n%s", code, stderr, out)
		}
		out, stderr, code = l.verify(t, "--from", "2000-01-01T00:00:00Z", "--to", "2000-01-01T01:00:00Z")
		if code != exitFailure || !strings.Contains(out, missing) || !strings.Contains(stderr, "no hour is complete") {
			t.Errorf("without a complete hour: exit %d\n%s\n%s", code, stderr, out)
		}
	})
}

func TestVerifyDescribesWhyItCannotCompare(t *testing.T) {
	period := []string{"--from", "2026-01-31T00:00:00Z", "--to", "2026-01-31T01:00:00Z"}
	now := time.Now().UTC().Format(time.RFC3339)
	for name, c := range map[string]struct {
		set  string // variable
		args []string
		code int
		want string // part of the error
	}{
		"no period":     {"", nil, exitUsage, "must be a time such as 2026-01-31T00:00:00Z, got \"\""},
		"no whole hour": {"", []string{"--from", now, "--to", now}, exitUsage, "--to: the period must contain"},
		"no token":      {"S2LD_LAUNCHDARKLY_API_TOKEN=", period, exitUsage, "launchdarkly.api_token: must be set"},
		"no environment": {"S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=", period, exitUsage,
			"launchdarkly.environment_key: must be set"},
		"wrong token": {"S2LD_LAUNCHDARKLY_API_TOKEN=api-x", append(period, "--incomplete"), exitFailure,
			"401 Unauthorized"},
		"wrong group": {"S2LD_KAFKA_GROUP=other", period, exitFailure,
			"replica r-0: belongs to group segment-to-launchdarkly, but kafka.group is other"},
		"wrong environment": {"S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=other", period, exitFailure,
			"replica r-0: delivers to another LaunchDarkly environment (" + ldtest.Sample.Key + ") than"},
		"two sources": {"", append(period, "--prometheus", "http://prometheus"), exitUsage, "--replica: exactly one"},
	} {
		l := newLedger(t, 1, midnight)
		if c.set != "" {
			l.set(c.set)
		}
		out, stderr, code := l.verify(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, error %q, want %d %q\n%s", name, code, stderr, c.code, c.want, out)
		}
	}

	l := newLedger(t, 0, midnight)
	const want = "--replica: exactly one"
	if _, stderr, code := l.verify(t, period...); code != exitUsage || !strings.Contains(stderr, want) {
		t.Errorf("no source: exit %d, error %q", code, stderr)
	}
	_, stderr, code := l.verify(t, append(period, "--prometheus", "http://prometheus")...)
	if code != exitFailure || !strings.Contains(stderr, "exists only if segment.events.only and only_file list") ||
		!strings.Contains(stderr, "/delivered.json") {
		t.Errorf("no counter: exit %d, error %q", code, stderr)
	}
}

func TestVerifyReadsDeliveriesFromPrometheus(t *testing.T) {
	l := newLedger(t, 0, midnight)
	l.set("S2LD_SEGMENT_EVENTS_ONLY=Order Completed")
	prometheus := serveOnce(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data":{"result":[{"metric":{"event":"Order Completed"},"values":[[946688400,"12"]]}]}}`)
	}))
	inBubble(t, func(t *testing.T) {
		time.Sleep(30 * time.Minute)
		l.deliver(t, -1, 500, "Order Completed")
		time.Sleep(5 * time.Hour)
		out, stderr, code := l.verify(t, "--from", "2000-01-01T00:00:00Z", "--to", "2000-01-01T01:00:00Z",
			"--prometheus", prometheus)
		if code != exitFailure || !strings.Contains(out, "Order Completed") || !strings.Contains(out, "500") ||
			!strings.Contains(out, "12") {
			t.Errorf("exit %d\n%s\n%s", code, out, stderr)
		}
	})
}

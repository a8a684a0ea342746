package ldapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// The project and the environment of most tests.
var (
	project     = ldtest.Sample.Project
	environment = ldtest.Sample.Key
)

// other is another environment of the same project.
var other = ldtest.Environment{
	ClientSideID: "0123456789abcdef01234567", Project: project, Key: "other", Token: "api-other",
}

// world is a fake LaunchDarkly and a client of its REST API, on an in-memory network.
type world struct {
	t         *testing.T
	api       *ldtest.API
	cfg       ldapi.Config // of client; a test can create another one
	client    *ldapi.Client
	transport *http.Transport
	created   time.Time

	mu       sync.Mutex         // guards the fields below
	requests []*http.Request    // that the client has sent
	before   func(n int)        // called before the response to request n, from 1; may be nil
	respond  http.HandlerFunc   // responds in place of the API; may be nil
	token    func(n int) string // token of request n, from 1; nil for the right one
	tokens   int                // number of calls of Config.Token
}

// inBubble runs a test in a bubble of its own.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, api: new(ldtest.API), created: time.Now()}
		ld := ldtest.New(ldtest.Config{Environments: []ldtest.Environment{ldtest.Sample, other}, API: w.api})
		pipe := ldtest.NewPipe()
		server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if respond := w.observe(r); respond != nil {
				respond(rw, r)
				return
			}
			ld.ServeHTTP(rw, r)
		})}
		served := make(chan struct{})
		go func() {
			defer close(served)
			server.Serve(pipe) //nolint:errcheck // always ErrServerClosed
		}()
		w.transport = &http.Transport{DialContext: pipe.DialContext}
		w.cfg = ldapi.Config{URL: "http://app.test", Token: w.nextToken, Version: "1.2.3", Transport: w.transport}
		w.client = ldapi.New(w.cfg)
		defer func() {
			w.transport.CloseIdleConnections()
			server.Close()
			<-served
		}()
		test(t, w)
	})
}

// observe records a request to the API. It returns the handler that responds in place of the API.
func (w *world) observe(r *http.Request) http.HandlerFunc {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, r)
	if w.before != nil {
		w.before(len(w.requests))
	}
	return w.respond
}

func (w *world) nextToken() (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens++
	if w.token != nil {
		return w.token(w.tokens), nil
	}
	return ldtest.APIToken, nil
}

// sent returns the requests that the client has sent.
func (w *world) sent() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// elapsed returns the time since the bubble was created.
func (w *world) elapsed() time.Duration { return time.Since(w.created) }

// metrics returns the keys of the metrics.
func (w *world) metrics(used bool) string {
	w.t.Helper()
	metrics, err := w.client.Metrics(w.t.Context(), project, used)
	if err != nil {
		w.t.Fatal(err)
	}
	return keys(metrics)
}

func keys(metrics []ldapi.Metric) string {
	var keys []string
	for _, m := range metrics {
		keys = append(keys, m.Key)
	}
	return strings.Join(keys, " ")
}

// metricsNamed returns custom metrics with the given keys.
func metricsNamed(keys ...string) map[string][]ldtest.Metric {
	var metrics []ldtest.Metric
	for _, key := range keys {
		metrics = append(metrics, ldtest.Metric{Key: key, EventKey: key})
	}
	return map[string][]ldtest.Metric{project: metrics}
}

// numbered returns n keys, m1 to mn.
func numbered(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("m%d", i+1))
	}
	return keys
}

// deliver sends events to an environment under a new payload ID, as often as times says.
func (w *world) deliver(to ldtest.Environment, times int, eventKeys ...string) {
	w.t.Helper()
	events := make([]string, len(eventKeys))
	for i, key := range eventKeys {
		events[i] = fmt.Sprintf(`{"kind":"custom","key":%q,"userKey":"u","creationDate":1592588370692}`, key)
	}
	id := uuid.NewString()
	for range times {
		r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost,
			"http://events.test/events/bulk/"+to.ClientSideID, strings.NewReader("["+strings.Join(events, ",")+"]"))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-LaunchDarkly-Event-Schema", "3")
		r.Header.Set("X-LaunchDarkly-Payload-ID", id)
		resp, err := w.transport.RoundTrip(r)
		if err != nil {
			w.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			w.t.Fatalf("status %d", resp.StatusCode)
		}
	}
}

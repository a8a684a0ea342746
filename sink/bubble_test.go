package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// TestMain lets the heap grow more between garbage collections, which saves a sixth of the CPU.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	m.Run()
}

// bubble is a client and a fake LaunchDarkly on an in-memory network, where minutes take
// milliseconds. At the end of each test it asserts the invariants of all tests; see check.
type bubble struct {
	t       *testing.T
	cfg     Config
	ld      *ldtest.Server
	client  *Client
	metrics *prometheus.Registry
	log     *syncBuffer // the whole log as JSON lines, including debug
	ctx     context.Context
	cancel  context.CancelFunc

	mu         sync.Mutex        // guards the fields below
	batches    int               // rendered so far
	events     int               // rendered so far; also the number of the next event
	done       map[*Batch]int    // calls of Done
	open       int               // deliveries without a call of Done
	idle       chan struct{}     // closed when open becomes 0
	failures   []error           // errors passed to Done
	delivered  map[int]bool      // numbers of the events in batches that were delivered
	rejections []Rejection       // passed to Rejected
	rejectErr  error             // returned by Rejected
	inFlight   int               // requests in flight
	most       int               // highest inFlight so far
	bodies     map[string]string // as sent, by payload ID
	respond    responder         // responds in place of LaunchDarkly; nil: none
	broken     error             // returned in place of a response; nil: none
}

// endpoint is a client configuration for one of the endpoints.
type endpoint struct {
	name   string
	change func(*Config)
}

var endpoints = []endpoint{
	{"client_side, schema 3", func(*Config) {}},
	{"client_side, schema 4", func(c *Config) { c.Schema = 4 }},
	{"metric_import", func(c *Config) {
		c.Endpoint, c.Schema = MetricImport, 4
		c.ProjectKey, c.EnvironmentKey = ldtest.Sample.Project, ldtest.Sample.Key
		c.AccessToken = func() (string, error) { return ldtest.Sample.Token, nil }
	}},
}

// onEachEndpoint runs a test in a bubble for each endpoint.
func onEachEndpoint(t *testing.T, test func(b *bubble)) {
	for _, e := range endpoints {
		t.Run(e.name, func(t *testing.T) { inBubble(t, e.change, test) })
	}
}

// inBubble runs a test in a bubble of its own. change may modify the client's configuration.
func inBubble(t *testing.T, change func(*Config), test func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{
			t: t, ld: ldtest.New(ldtest.Config{Retain: true, Identity: ldtest.DataField("n")}),
			metrics: prometheus.NewRegistry(), log: new(syncBuffer),
			done: map[*Batch]int{}, delivered: map[int]bool{}, bodies: map[string]string{},
		}
		b.ctx, b.cancel = context.WithCancel(t.Context())
		pipe := ldtest.NewPipe()
		server := &http.Server{Handler: b.ld}
		served := make(chan struct{})
		go func() {
			defer close(served)
			server.Serve(pipe) //nolint:errcheck // always ErrServerClosed
		}()
		encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
		b.cfg = Config{
			EventsURL: "http://events.test", Endpoint: ClientSide, ClientSideID: ldtest.Sample.ClientSideID,
			Schema: 3, Version: "1.2.3",
			MaxInFlight: 16, Timeout: 10 * time.Second, BackoffMin: 500 * time.Millisecond, BackoffMax: time.Minute,
			Transport: &http.Transport{DialContext: pipe.DialContext, MaxIdleConnsPerHost: 100},
			Metrics:   NewMetrics(b.metrics, NewBudget(1)),
			Log:       zap.New(zapcore.NewCore(encoder, zapcore.AddSync(b.log), zap.DebugLevel)),
		}
		if change != nil {
			change(&b.cfg)
		}
		b.cfg.Transport = wire{b.cfg.Transport, b}
		var err error
		if b.client, err = New(b.cfg); err != nil {
			t.Fatal(err)
		}
		defer func() {
			b.cancel()
			b.client.Close()
			server.Close()
			<-served
			b.check()
		}()
		test(b)
	})
}

// responder responds to a request, or returns nil to pass the request on to LaunchDarkly.
type responder func(*http.Request) *http.Response

func (b *bubble) respondWith(respond responder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.respond = respond
}

// breakWith makes every request fail with err. Nil repairs the transport.
func (b *bubble) breakWith(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = err
}

// withStatus returns a response with the given status.
func withStatus(status int, r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Header: http.Header{}, Body: http.NoBody, Request: r,
	}
}

// wire is a transport that checks and counts the requests.
type wire struct {
	http.RoundTripper
	b *bubble
}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || r.GetBody == nil {
		w.b.t.Errorf("%s %s", r.Method, r.URL)
		return w.RoundTripper.RoundTrip(r)
	}
	reader, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	b, id := w.b, r.Header.Get(headerPayloadID)
	b.mu.Lock()
	if first, ok := b.bodies[id]; ok && first != string(body) {
		b.t.Errorf("payload ID %s was sent with different bytes on a later attempt", id)
	}
	b.bodies[id] = string(body)
	b.inFlight++
	b.most = max(b.most, b.inFlight)
	respond, broken := b.respond, b.broken
	b.mu.Unlock()
	defer b.requestDone()
	if broken != nil {
		return nil, broken
	}
	if r.ContentLength != int64(len(body)) {
		b.t.Errorf("Content-Length %d for a body of %d bytes", r.ContentLength, len(body))
	}
	if respond != nil {
		if response := respond(r); response != nil {
			return response, nil
		}
	}
	return w.RoundTripper.RoundTrip(r)
}

func (w wire) CloseIdleConnections() { w.RoundTripper.(*http.Transport).CloseIdleConnections() }

func (b *bubble) requestDone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
}

// check asserts the invariants of every test. LaunchDarkly reported no violation, and Done was
// called once per delivery. Each event of a delivered batch was counted or rejected exactly once.
// The limit of requests in flight was observed, and nothing secret was logged.
func (b *bubble) check() {
	b.t.Helper()
	report := b.ld.Report()
	if report.ViolationCount > 0 || report.Dropped > 0 {
		b.t.Errorf("violations: %v, drops: %v", report.Violations, report.Drops)
	}
	if b.open != 0 {
		b.t.Errorf("Done was not called for %d deliveries", b.open)
	}
	for batch, calls := range b.done {
		if calls != 1 {
			b.t.Errorf("Done was called %d times for partition %d", calls, batch.Source.Partition)
		}
	}
	settled := map[int]int{} // by event: how often it was counted or rejected
	for _, n := range b.counted() {
		settled[n]++
	}
	for _, n := range b.rejected() {
		settled[n]++
	}
	for n, times := range settled {
		if times != 1 {
			b.t.Errorf("event %d was counted or rejected %d times", n, times)
		}
	}
	for n := range b.delivered {
		if settled[n] == 0 {
			b.t.Errorf("event %d was reported as delivered, but neither counted nor rejected", n)
		}
	}
	if most, allowed := b.most, b.cfg.MaxInFlight; most > allowed {
		b.t.Errorf("%d requests in flight, %d allowed", most, allowed)
	}
	for _, secret := range []string{ldtest.Sample.Token, "user-of-"} {
		if log := b.log.String(); strings.Contains(log, secret) {
			b.t.Errorf("the log contains %q: %s", secret, log)
		}
	}
}

// counted returns the numbers of the events that LaunchDarkly counted, in order.
func (b *bubble) counted() (numbers []int) {
	for _, event := range b.ld.Events() {
		numbers = append(numbers, number(b.t, event))
	}
	return numbers
}

// rejected returns the numbers of the events that were rejected, in order.
func (b *bubble) rejected() (numbers []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rejections {
		numbers = append(numbers, number(b.t, r.Body))
	}
	slices.Sort(numbers)
	return numbers
}

func number(t *testing.T, event []byte) int {
	t.Helper()
	n, err := strconv.Atoi(ldtest.DataField("n")(event))
	if err != nil {
		t.Fatalf("event %s: %v", event, err)
	}
	return n
}

// event renders the n-th event, with padding.
func event(schema, n, padding int) []byte {
	who := `"userKey":"user-of-%[1]d"`
	if schema == 4 {
		who = `"contextKeys":{"user":"user-of-%[1]d"}`
	}
	return fmt.Appendf(nil,
		`{"kind":"custom","key":"e",`+who+`,"creationDate":1592588370692,"data":{"n":%[1]d,"pad":"%[2]s"}}`,
		n, strings.Repeat("x", padding))
}

// batch returns a sealed batch with the given number of events, one per record, from a partition of
// its own.
func (b *bubble) batch(events int) *Batch { return b.batchOf(events, events, 0, true) }

// batchOf returns a sealed batch with the given number of events from the given number of records.
func (b *bubble) batchOf(events, records, padding int, compress bool) *Batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batches++
	return b.render(int32(b.batches), b.events, events, records, padding, compress)
}

// render returns a sealed batch whose first event has the given number. The caller holds the mutex.
func (b *bubble) render(partition int32, from, events, records, padding int, compress bool) *Batch {
	buffer := NewBuffer(1<<30, 1<<30)
	for r := range records {
		body, n := buffer.Bytes(), events/records
		for i := range n {
			body = append(append(body, event(b.cfg.Schema, from+r*n+i, padding)...), ',')
		}
		buffer.Extend(body, n, int64(r), time.Now())
	}
	b.events = max(b.events, from+events)
	return buffer.Seal(Source{Group: "g", Topic: "t", Partition: partition}, 0, 0, int64(records), compress)
}

// deliver delivers batches with the bubble's context.
func (b *bubble) deliver(batches ...*Batch) {
	for _, batch := range batches {
		b.deliverIn(b.ctx, batch)
	}
}

// deliverIn delivers a batch with ctx.
func (b *bubble) deliverIn(ctx context.Context, batch *Batch) {
	numbers := b.numbers(batch)
	b.mu.Lock()
	if b.open == 0 {
		b.idle = make(chan struct{})
	}
	b.open++
	b.mu.Unlock()
	b.client.Deliver(ctx, Delivery{
		Batch: batch,
		Rejected: func(_ context.Context, r Rejection) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.rejectErr == nil {
				b.rejections = append(b.rejections, r)
			}
			return b.rejectErr
		},
		Done: func(err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.done[batch]++
			if b.done[batch] > 1 {
				return
			}
			if err != nil {
				b.failures = append(b.failures, err)
			} else {
				for _, n := range numbers {
					b.delivered[n] = true
				}
			}
			if b.open--; b.open == 0 {
				close(b.idle)
			}
		},
	})
}

// numbers returns the numbers of a batch's events.
func (b *bubble) numbers(batch *Batch) (numbers []int) {
	for e := range ldtest.Events(batch.whole.raw()) {
		numbers = append(numbers, number(b.t, e))
	}
	return numbers
}

// settle waits until all deliveries are finished, and returns how long that took.
func (b *bubble) settle(within time.Duration) time.Duration {
	b.t.Helper()
	started := time.Now()
	select {
	case <-b.idle:
	case <-time.After(within):
		b.t.Fatalf("%d deliveries not finished within %v: %+v", b.unfinished(), within, b.ld.Report())
	}
	return time.Since(started)
}

// unfinished waits until all goroutines are blocked, and returns how many deliveries are not
// finished.
func (b *bubble) unfinished() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// requests waits until all goroutines are blocked, and returns the requests from index since on.
func (b *bubble) requests(since int) []ldtest.Request {
	synctest.Wait()
	return b.ld.Requests()[since:]
}

// syncBuffer is a buffer for concurrent use.
type syncBuffer struct {
	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logged waits until all goroutines are blocked, and returns the log entries above debug level.
func (b *bubble) logged() (lines []string) {
	synctest.Wait()
	for line := range strings.Lines(b.log.String()) {
		if !strings.Contains(line, `"level":"debug"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// deliveryErrors returns the errors passed to Done.
func (b *bubble) deliveryErrors() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.failures...)
}

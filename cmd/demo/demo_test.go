package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// TestMain runs a replica if the demo starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "replica" {
		main()
	}
	os.Exit(m.Run())
}

// command is one run of the demo.
type command struct {
	stdout  bytes.Buffer // read only after exit
	stderr  watched
	signals chan os.Signal
	exit    chan int
}

// start runs a command line with the given environment variables.
func start(environ []string, args ...string) *command {
	c := &command{signals: make(chan os.Signal, 2), exit: make(chan int, 1)}
	c.stderr.wrote.L = &c.stderr.mu
	go func() {
		c.exit <- execute(args, system{stdout: &c.stdout, stderr: &c.stderr, environ: environ, signals: c.signals})
		c.stderr.close()
	}()
	return c
}

// summary waits for the exit and returns the summary, which must be all of standard output.
func (c *command) summary(t *testing.T, exit int) (s summary) {
	t.Helper()
	if got := <-c.exit; got != exit {
		t.Errorf("exit code %d, want %d", got, exit)
	}
	line, rest, found := strings.Cut(c.stdout.String(), "\n")
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil || !found || rest != "" {
		t.Fatalf("standard output is not one line of JSON (%v): %q\n%s", err, c.stdout.String(), c.stderr.text())
	}
	if t.Failed() {
		t.Log(c.stderr.text())
	}
	return s
}

// watched is an output that a test can wait on.
type watched struct {
	wrote sync.Cond // signaled after each change of the fields below; its lock is mu

	mu     sync.Mutex // guards the fields below
	b      bytes.Buffer
	closed bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote.Broadcast()
	return w.b.Write(p)
}

func (w *watched) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.wrote.Broadcast()
}

func (w *watched) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// await waits for a match of pattern and returns its submatches.
func (w *watched) await(t *testing.T, pattern string) (m []string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	w.awaitFunc(t, pattern, func(output string) bool {
		m = re.FindStringSubmatch(output)
		return m != nil
	})
	return m
}

// awaitFunc waits until found returns true for the output so far.
func (w *watched) awaitFunc(t *testing.T, what string, found func(output string) bool) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !found(w.b.String()) {
		if w.closed {
			t.Fatalf("no match of %q in:\n%s", what, w.b.String())
		}
		w.wrote.Wait()
	}
}

// truth returns the expected summary for a number of records.
func truth(records int64) (s summary) {
	g := segmenttest.New(seed)
	for n := range records {
		_, calls := g.Record(n)
		for _, reason := range calls {
			switch reason.Outcome() {
			case transform.Event:
				s.Delivered++
			case transform.Filtered:
				s.Filtered++
			case transform.Rejected:
				s.Rejected++
			}
		}
	}
	s.Produced = records
	return s
}

func TestDemoDeliversEachEventOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*command{
		"defaults": start(nil, "-events", "2000"),
		"with faults": start([]string{"S2LD_BATCH_MAX_EVENTS=100", "S2LD_DELIVERY_BACKOFF_MAX=1s"},
			"-events", "2000", "-faults"),
		"schema 4": start([]string{"S2LD_LAUNCHDARKLY_ENDPOINT=metric_import", "S2LD_LAUNCHDARKLY_EVENT_SCHEMA=4"},
			"-events", "2000", "-rate", "1500"),
	} {
		t.Run(name, func(t *testing.T) {
			got, want := c.summary(t, exitOK), truth(2000)
			if got.Requests == 0 || got.Seconds <= 0 {
				t.Errorf("%d requests in %v seconds", got.Requests, got.Seconds)
			}
			got.Requests, got.Seconds = 0, 0
			if got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			for _, pattern := range []string{
				`http://127\.0\.0\.1:\d+/metrics`, `"type": "[Tt]rack"`, `"kind": "custom"`, `2,000 records in`,
			} {
				c.stderr.await(t, pattern)
			}
		})
	}
}

// shortTour are the settings and the arguments of a tour that takes about 20 seconds.
var shortTour = struct{ environ, args []string }{
	[]string{"S2LD_DELIVERY_BACKOFF_MAX=1s"}, []string{"-tour", "-pace", "3s", "-rate", "500"},
}

func TestTourDescribesTheOutageTheCrashAndTheRecovery(t *testing.T) {
	skipUnlessAsked(t)
	t.Parallel()
	c := start(shortTour.environ, shortTour.args...)
	got := c.summary(t, exitOK)
	want := truth(got.Produced)
	want.Requests, want.Seconds = got.Requests, got.Seconds
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	const figures = `\n +events produced [1-9][0-9,]*, delivered [1-9][0-9,]*, missing [0-9,]+, duplicates 0\n`
	c.stderr.await(t, `(?s)Normal operation: processes \d+ and \d+ share the 6 partitions\.`+figures+
		`.* Outage: .* [1-9][0-9]* attempts failed\. [1-9][0-9]* batches wait.*`+figures+
		`.* all events from the outage have been delivered\.`+figures+
		`.* Crash: process \d+ was killed with SIGKILL \(signal: killed\)`+
		`.*had accepted [1-9][0-9]* requests without a response.*`+figures+
		`.* owns all 6 partitions.*`+
		`.* [1-9][0-9]* requests repeated batches that LaunchDarkly had already counted.*`+figures+
		`.* Recovery: a new replica.*`+figures+
		`.*OK: every event was counted exactly once`)
	killed := c.stderr.await(t, `Crash: process (\d+)`)[1]
	if first := c.stderr.await(t, `processes (\d+) and`)[1]; killed != first {
		t.Errorf("process %s was killed, want %s", killed, first)
	}
}

// skipUnlessAsked skips a test that takes a second or more of CPU. CI runs all of them.
func skipUnlessAsked(t *testing.T) {
	t.Helper()
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("takes a second or more of CPU: set KAFKA_TEST=1")
	}
}

func TestInterruptEndsTheTour(t *testing.T) {
	skipUnlessAsked(t)
	t.Parallel()
	c := start(shortTour.environ, shortTour.args...)
	c.stderr.await(t, "Outage: ")
	c.signals <- os.Interrupt
	if got := c.summary(t, exitOK); got.Delivered == 0 || got.Missing != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestInterruptDrainsAndWritesTheSummary(t *testing.T) {
	t.Parallel()
	c := start(nil)
	c.stderr.await(t, `"kind": "custom"`)
	c.signals <- os.Interrupt
	got := c.summary(t, exitOK)
	want := truth(got.Produced)
	if got.Delivered != want.Delivered || got.Delivered == 0 || got.Missing != 0 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestInterruptBeforeAllEventsFails(t *testing.T) {
	t.Parallel()
	c := start(nil, "-events", "100000", "-rate", "500")
	c.stderr.await(t, `"kind": "custom"`)
	c.signals <- os.Interrupt
	if got := c.summary(t, exitFailure); got.Missing != 0 || got.Produced >= 100000 {
		t.Errorf("got %+v", got)
	}
	c.stderr.await(t, "WRONG: [0-9,]+ records were not produced")
}

func TestSecondInterruptExitsImmediately(t *testing.T) {
	t.Parallel()
	c := start(nil)
	c.stderr.await(t, `metrics `)
	c.signals <- os.Interrupt
	c.signals <- os.Interrupt
	if got := <-c.exit; got != exitInterrupted {
		t.Errorf("exit code %d", got)
	}
}

// The program commits the offset of an event that LaunchDarkly rejects. The demo reports the event
// as missing.
func TestMissingEventFails(t *testing.T) {
	t.Parallel()
	g := segmenttest.New(1)
	n := int64(500)
	for {
		if _, calls := g.Record(n); len(calls) == 1 && calls[0] == transform.None {
			break
		}
		n++
	}
	c := start(nil, "-events", "1000", "-rate", "500")
	c.poison(t, fmt.Sprintf(`%%22seq%%22:%d,`, segmenttest.Number(n, 0)))
	if got := c.summary(t, exitFailure); got.Missing != 1 || got.Delivered != truth(1000).Delivered-1 {
		t.Errorf("got %+v", got)
	}
	c.stderr.await(t, "WRONG: 1 events are missing")
}

func TestMissingEventsFailTheTour(t *testing.T) {
	skipUnlessAsked(t)
	t.Parallel()
	c := start(shortTour.environ, shortTour.args...)
	c.stderr.await(t, "Recovery: ")
	c.poison(t, `76,`) // a few percent of the events
	if got := c.summary(t, exitFailure); got.Missing == 0 || got.Duplicates != 0 {
		t.Errorf("got %+v", got)
	}
	c.stderr.await(t, "WRONG: [0-9]+ events are missing")
}

// poison makes LaunchDarkly reject the events that contain a text.
func (c *command) poison(t *testing.T, text string) {
	t.Helper()
	address := c.stderr.await(t, `LaunchDarkly +(http://\S+)`)[1]
	response, err := http.Post(address+"/control/poison?contains="+text, "", nil)
	if err != nil || response.StatusCode != http.StatusNoContent {
		t.Fatal(response, err)
	}
	response.Body.Close()
}

// smallTerminal is an output that the demo takes for a terminal of 80 columns and 24 rows.
type smallTerminal struct{ watched }

func (*smallTerminal) size() (width, height int) { return 80, 24 }

// frames splits output into the live lines that the terminal showed one after the other.
func frames(output string) []string {
	return regexp.MustCompile(`\r(\x1b\[\d+A)?\x1b\[J`).Split(output, -1)
}

// distinct returns the number of different submatches of pattern in text.
func distinct(pattern, text string) int {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return len(found)
}

func TestTerminalAlwaysShowsAddressesAndChangesSamples(t *testing.T) {
	skipUnlessAsked(t)
	t.Parallel()
	out, signals, exited := &smallTerminal{}, make(chan os.Signal, 2), make(chan bool)
	out.wrote.L = &out.mu
	go func() {
		args := []string{"-events", "20000", "-rate", "1000"}
		execute(args, system{stdout: io.Discard, stderr: out, signals: signals})
		out.close()
		close(exited)
	}()
	status := out.await(t, `status page   (http://\S+)`)[1]
	out.awaitFunc(t, "changing samples", func(output string) bool {
		return distinct(`\n    "seq": (\d+).*│`, output) >= 3 && distinct(`\n(\{"type".*)\n.*\n[a-z_]+: \w`, output) >= 2
	})
	shown := out.text()
	signals <- os.Interrupt
	signals <- os.Interrupt
	<-exited
	_, shown, _ = strings.Cut(shown, status)
	for _, frame := range frames(shown)[1:] {
		if lines := strings.Split(frame, "\n"); len(lines) > 23 || !strings.Contains(frame, "status page   "+status) {
			t.Fatalf("%d lines:\n%s", len(lines), frame)
		}
	}
}

func TestUnexpectedEventsFail(t *testing.T) {
	t.Parallel()
	c := start([]string{"S2LD_SEGMENT_HONOR_INTEGRATIONS=false"}, "-events", "1000")
	c.summary(t, exitFailure)
	c.stderr.await(t, "WRONG: [0-9]+ unexpected events, first: an event of record [0-9]+, call 0, "+
		"which should have been filtered: integrations")
	c.stderr.await(t, `WRONG: 0 calls with outcome filtered and reason "integrations", want [0-9]+`)
}

func TestInvalidUsageIsReported(t *testing.T) {
	for _, c := range []struct {
		environ, args []string
		want          string
	}{
		{nil, []string{"-tour", "-events", "1"}, "must not be combined"},
		{nil, []string{"-events", "many"}, "invalid value"},
		{nil, []string{"-events", "-1"}, "must not be negative"},
		{nil, []string{"generator"}, `unexpected argument "generator"`},
		{nil, []string{"probe"}, "missing argument"},
		{[]string{"S2LD_BATCH_MAX_EVENT=1"}, nil, "S2LD_BATCH_MAX_EVENTS"},
	} {
		run := start(c.environ, c.args...)
		if got := <-run.exit; got != exitUsage {
			t.Errorf("%v: exit code %d", c.args, got)
		}
		run.stderr.await(t, regexp.QuoteMeta(c.want))
	}
	for _, command := range []string{"", "launchdarkly", "generate", "probe", "replica"} {
		if help := start(nil, append(strings.Fields(command), "-help")...); <-help.exit != exitOK {
			t.Errorf("%s -help fails", command)
		}
	}
}

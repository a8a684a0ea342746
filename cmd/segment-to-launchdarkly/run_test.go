package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// service is a running process of the program. Its broker has some records, and its LaunchDarkly is
// a fake.
type service struct {
	cmd     *exec.Cmd
	broker  *kfake.Cluster
	front   *httptest.Server // in front of ld
	ld      *ldtest.Server
	arrived chan struct{}  // receives an element for a request to ld if it is empty
	log     *bufio.Scanner // standard error of the process
}

// tenCalls returns ten track calls.
func tenCalls() (calls []string) {
	for i := range 10 {
		calls = append(calls, fmt.Sprintf(`{"type":"track","event":"e%d","userId":"u","timestamp":1592588370692}`, i))
	}
	return calls
}

func startService(t *testing.T, ld *ldtest.Server, records []string) *service {
	t.Helper()
	s := newService(t, ld, records)
	s.start(t)
	return s
}

// newService returns a service whose process is not running yet.
func newService(t *testing.T, ld *ldtest.Server, records []string) *service {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "segment"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.DefaultProduceTopic("segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, record := range records {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(record)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	s := &service{ld: ld, broker: broker, arrived: make(chan struct{}, 1)}
	s.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.arrived <- struct{}{}:
		default:
		}
		ld.ServeHTTP(w, r)
	}))
	t.Cleanup(s.front.Close)
	path := writeFile(t, "config.yaml", `
kafka: {topics: [segment]}
batch: {max_age: 50ms}
admin: {listen: "127.0.0.1:0"}
`)
	s.cmd = program(t, []string{
		"S2LD_KAFKA_BROKERS=" + broker.ListenAddrs()[0], "S2LD_LAUNCHDARKLY_EVENTS_URL=" + s.front.URL,
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
	}, "run", "--config", path)
	return s
}

// start starts the process.
func (s *service) start(t *testing.T) {
	t.Helper()
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.log = bufio.NewScanner(stderr)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// readLog reads the log up to an entry whose message starts with message. It fails if an entry is
// not JSON.
func (s *service) readLog(t *testing.T, message string) {
	t.Helper()
	for s.log.Scan() {
		var entry struct{ Level, Time, Msg string }
		if err := json.Unmarshal(s.log.Bytes(), &entry); err != nil || entry.Level == "" || entry.Time == "" {
			t.Fatalf("not a log entry: %s", s.log.Text())
		}
		if strings.HasPrefix(entry.Msg, message) {
			return
		}
	}
	t.Fatalf("the log ended without %q: %v", message, s.log.Err())
}

func (s *service) signal(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the process and returns its exit code.
func (s *service) exit(t *testing.T) int {
	t.Helper()
	for s.log.Scan() { // so that the process does not block on a full pipe
	}
	_ = s.cmd.Wait() // the exit code is checked instead
	return s.cmd.ProcessState.ExitCode()
}

func TestRunDeliversAndExitsWith0OnSIGTERM(t *testing.T) {
	s := startService(t, ldtest.New(ldtest.Config{Retain: true}), tenCalls())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.ld.Wait(ctx, 10); err != nil {
		t.Fatal(err)
	}
	s.signal(t)
	s.readLog(t, "stopping")
	if code := s.exit(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := len(s.ld.Events()); got != 10 {
		t.Errorf("%d events, want 10", got)
	}
}

func TestRunDeliversTheCallInEveryKnownEnvelope(t *testing.T) {
	var records []string
	known := 0
	for _, e := range envelopes {
		records = append(records, e.record)
		if e.auto {
			known++
		}
	}
	s := startService(t, ldtest.New(ldtest.Config{Retain: true}), records)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.ld.Wait(ctx, known); err != nil {
		t.Fatal(err)
	}
	s.signal(t)
	if code := s.exit(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := len(s.ld.Events()); got != known {
		t.Errorf("%d events, want %d", got, known)
	}
}

func TestSecondSignalExitsImmediatelyWith130(t *testing.T) {
	ld := ldtest.New(ldtest.Config{})
	ld.Down(ldtest.Fault{Kind: ldtest.Hang})
	s := startService(t, ld, tenCalls())
	<-s.arrived // the request hangs, so the drain will hang too
	s.signal(t)
	s.readLog(t, "stopping")
	start := time.Now()
	s.signal(t)
	if code := s.exit(t); code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("exited after %v", d)
	}
}

func TestRunExitsWith1WhenItCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, stderr, code := run(system{environ: []string{"S2LD_KAFKA_BROKERS=127.0.0.1:1", "S2LD_KAFKA_TOPICS=segment",
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc", "S2LD_ADMIN_LISTEN=" + taken.Addr().String()}}, "run")
	logged := strings.Contains(stderr, `"msg":"run failed"`) && strings.Contains(stderr, "admin.listen")
	if code != exitFailure || !logged {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{
		"json":    `{"level":"warn","time":"20`,
		"console": "\tWARN\tphrase\t{\"n\": 1}\n",
	} {
		var out strings.Builder
		log := newLogger(config.Log{Level: "warn", Format: format}, &out)
		log.Info("hidden")
		log.Warn("phrase", zap.Int("n", 1))
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s: %q, want %q", format, out.String(), want)
		}
	}
}

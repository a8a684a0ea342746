//go:build strace

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// readOnly matches the system calls that only read files.
var readOnly = regexp.MustCompile(
	`^(open\w*\(.*O_RDONLY(\|O_CLOEXEC|\|O_NONBLOCK|\|O_LARGEFILE|\|O_DIRECTORY)*[,) ]|(execve|access|faccessat2?|` +
		`getcwd|l?stat|statx|newfstatat|fstatat64|statfs|readlink(at)?)\()`)

var address = regexp.MustCompile(
	`^connect\(\d+, \{sa_family=AF_INET, sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)\}`)

// SECURITY.md makes this claim. The test needs strace: make test-strace. One of the topics does not exist.
func TestRunWritesNoFileCreatesNoTopicAndConnectsOnlyToKafkaAndLaunchDarkly(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t, ldtest.New(ldtest.Config{}), tenCalls())
	requests := make(chan kmsg.Request, 1<<16)
	s.broker.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.KeepControl()
		requests <- r
		return nil, nil, false
	})
	calls := filepath.Join(t.TempDir(), "calls")
	// With -D, the program has the process ID of the command.
	options := []string{strace, "-D", "-f", "-s", "256", "-e", "trace=%file,connect", "-o", calls}
	s.cmd.Args = append(options, s.cmd.Args...)
	s.cmd.Path = strace
	s.cmd.Env = append(s.cmd.Env, "S2LD_KAFKA_TOPICS=segment,absent")
	s.start(t)
	if err := s.ld.Wait(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	s.signal(t)
	if code := s.exit(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	trace, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	connections := map[string]bool{s.broker.ListenAddrs()[0]: false, s.front.Listener.Addr().String(): false}
	reads := 0
	for line := range strings.Lines(string(trace)) {
		_, call, _ := strings.Cut(strings.TrimSpace(line), " ") // after the thread's ID
		call = strings.TrimSpace(call)
		switch {
		case strings.HasPrefix(call, "connect("):
			to := ""
			if m := address.FindStringSubmatch(call); m != nil {
				to = net.JoinHostPort(m[2], m[1])
			}
			if _, ok := connections[to]; !ok {
				t.Errorf("unexpected connection: %s", call)
			}
			connections[to] = true
		case readOnly.MatchString(call):
			reads++
		case strings.HasPrefix(call, "<..."), strings.HasPrefix(call, "---"), strings.HasPrefix(call, "+++"):
		default:
			t.Errorf("not read-only: %s", call)
		}
	}
	for to, connected := range connections {
		if !connected {
			t.Errorf("no connection to %s", to)
		}
	}
	if reads == 0 {
		t.Error("no file read")
	}

	for range len(requests) {
		switch r := (<-requests).(type) {
		case *kmsg.MetadataRequest:
			if r.AllowAutoTopicCreation {
				t.Error("a metadata request allows Kafka to create topics")
			}
		case *kmsg.CreateTopicsRequest, *kmsg.CreatePartitionsRequest, *kmsg.DeleteTopicsRequest,
			*kmsg.AlterConfigsRequest, *kmsg.IncrementalAlterConfigsRequest, *kmsg.DeleteRecordsRequest:
			t.Errorf("request %s", kmsg.NameForKey(r.Key()))
		}
	}
}

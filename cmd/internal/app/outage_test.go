//go:build linux

package app_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/chaos"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/segmentgen"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

const (
	backlog      = 400_000
	outageMemory = 150 << 20 // resident bytes, at most
)

// The program, as a process, meets a LaunchDarkly that is down and a backlog of
// 400,000 records: its memory stays flat, the committed offset stays where it is, and
// everything arrives afterwards.
func TestOutageWithABacklogCostsNoMemoryAndLosesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(t.TempDir()), kfake.SeedTopics(6, "segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	events := produceBacklog(ctx, t, cluster.ListenAddrs())

	ld := ldtest.New(ldtest.Config{})
	ld.Down(ldtest.Fault{Status: 503})
	server := httptest.NewServer(ld)
	defer server.Close()

	p := start(ctx, t, "S2LD_KAFKA_BROKERS="+cluster.ListenAddrs()[0], "S2LD_KAFKA_TOPICS=segment",
		"S2LD_LAUNCHDARKLY_EVENTS_URL="+server.URL, "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID="+ldtest.Sample.ClientSideID,
		"S2LD_DELIVERY_BACKOFF_MAX=2s", "S2LD_ADMIN_LISTEN=127.0.0.1:0")

	// What is read while nothing is delivered is read within a few seconds.
	time.Sleep(8 * time.Second)
	early := p.resident(t)
	time.Sleep(8 * time.Second)
	if late := p.resident(t); late > early+early/10 {
		t.Errorf("memory grows during the outage: %d MB, then %d MB", early>>20, late>>20)
	}
	if sum := committed(ctx, t, cluster.ListenAddrs()); sum > backlog/1000 { // filtered records before the first event
		t.Errorf("%d offsets committed while nothing was delivered", sum)
	}

	ld.Up()
	if err := ld.Wait(ctx, events); err != nil {
		t.Fatalf("%d of %d events delivered\n%s", ld.Report().Processed, events, p.log())
	}
	peak := p.peak(t)
	p.terminate(t)
	if sum := committed(ctx, t, cluster.ListenAddrs()); sum != backlog {
		t.Errorf("%d offsets of %d committed", sum, backlog)
	}
	report := ld.Report()
	if report.Processed != events || report.Duplicates > 0 || report.ViolationCount > 0 {
		t.Errorf("%d of %d events counted, %d requests sent twice, violations %v", report.Processed, events, report.Duplicates, report.Violations)
	}
	if peak > outageMemory {
		t.Errorf("memory peaked at %d MB, at most %d MB allowed", peak>>20, outageMemory>>20)
	}
	t.Logf("%d events, memory %d MB early in the outage, %d MB at its peak", events, early>>20, peak>>20)
}

// produceBacklog fills the topic and returns how many events are to come of it.
func produceBacklog(ctx context.Context, t *testing.T, brokers []string) (events int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("segment"),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.MaxBufferedRecords(5000))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	generator := segmentgen.New(1)
	for n := range int64(backlog) {
		value, calls := generator.Record(n)
		for _, reason := range calls {
			if reason == transform.None {
				events++
			}
		}
		client.Produce(ctx, &kgo.Record{Value: bytes.Clone(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	return events
}

func committed(ctx context.Context, t *testing.T, brokers []string) (sum int64) {
	t.Helper()
	offsets, err := kafkatest.Committed(ctx, brokers, "segment-to-launchdarkly")
	if err != nil {
		t.Fatal(err)
	}
	for _, partitions := range offsets {
		for _, o := range partitions {
			sum += o.At
		}
	}
	return sum
}

// process is the program as a process.
type process struct {
	cmd     *exec.Cmd
	logPath string
	done    chan error
}

// start builds the program and runs it with an environment of nothing but environ.
// It dies with the test.
func start(ctx context.Context, t *testing.T, environ ...string) *process {
	t.Helper()
	dir := t.TempDir()
	binary, err := chaos.Build(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{logPath: filepath.Join(dir, "log"), done: make(chan error, 1)}
	log, err := os.Create(p.logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, binary, "run")
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = environ, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel watches the thread that started the process
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.done <- p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return p
}

// resident returns the bytes of resident memory, peak the most there were. getrusage(2) would not do for that: its
// maxrss begins with the parent's, which is this test.
func (p *process) resident(t *testing.T) int64 { return p.memory(t, "VmRSS:") }
func (p *process) peak(t *testing.T) int64     { return p.memory(t, "VmHWM:") }

// memory reads a field of proc(5), in bytes.
func (p *process) memory(t *testing.T, field string) int64 {
	t.Helper()
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log())
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no %s\n%s", field, p.log())
	return 0
}

// terminate ends the program in peace.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.done; err != nil {
		t.Errorf("exit: %v\n%s", err, p.log())
	}
}

func (p *process) log() string {
	text, _ := os.ReadFile(p.logPath)
	return string(text)
}

//go:build unix

package kafkatest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed apache_log4j2.xml
var log4j2 []byte

// node is one Kafka server process of an Apache cluster. It can be restarted after it has exited.
type node struct {
	id        int
	dir       string
	classPath string
	addrs     map[Listener]string

	allowedURL string // URL of the issuer's keys; Kafka fetches no others

	mu     sync.Mutex    // guards the fields below
	proc   *os.Process   // nil unless the node is expected to run
	exited chan struct{} // closed when proc has exited
	paused bool
}

func (n *node) configPath() string { return filepath.Join(n.dir, "server.properties") }
func (n *node) logPath() string    { return filepath.Join(n.dir, "server.log") }

// java returns a command that runs a Kafka class. With TieredStopAtLevel=1, starting a node takes
// 2.4 instead of 4.2 seconds of CPU time.
func (n *node) java(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{
		"-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + filepath.Join(n.dir, "log4j2.xml"),
		"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + n.allowedURL,
		"-cp", n.classPath,
	}, args...)
	cmd := exec.CommandContext(ctx, "java", args...)
	cmd.SysProcAttr = dieWithParent
	return cmd
}

// format writes the node's configuration and formats its data directory.
func (n *node) format(ctx context.Context, clusterID string, properties map[string]string) error {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&b, "%s=%s\n", k, strings.ReplaceAll(properties[k], `\`, `\\`)) // required in Java properties files
	}
	err := errors.Join(
		os.MkdirAll(n.dir, 0o755),
		os.WriteFile(n.configPath(), []byte(b.String()), 0o644),
		os.WriteFile(filepath.Join(n.dir, "log4j2.xml"), log4j2, 0o644),
	)
	if err != nil {
		return err
	}
	out, err := n.java(ctx, "kafka.tools.StorageTool", "format", "--cluster-id="+clusterID, "-c",
		n.configPath()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format node %d: %w\n%s", n.id, err, out)
	}
	return nil
}

// start starts the node. It does nothing if the node is already running.
func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running() {
		return nil
	}
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	defer log.Close()
	cmd := n.java(context.Background(), "kafka.Kafka", n.configPath())
	cmd.Stdout, cmd.Stderr = log, log

	started, exited := make(chan error), make(chan struct{})
	go func() {
		defer close(exited)
		// The thread must outlive the process (see dieWithParent), and only a locked thread is
		// guaranteed to do so.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the node's log shows why it exited
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	n.proc, n.exited, n.paused = cmd.Process, exited, false
	return nil
}

// signal sends SIGSTOP or SIGCONT. It does nothing if the node is not running.
func (n *node) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running() {
		return nil
	}
	n.paused = s == syscall.SIGSTOP
	if err := n.proc.Signal(s); err != nil {
		return fmt.Errorf("signal node %d: %w", n.id, err)
	}
	return nil
}

// stop sends SIGTERM or SIGKILL and waits until the node has exited. It does nothing if the node is
// not running. If the node is still running after stopTimeout, stop kills it and returns an error.
func (n *node) stop(s syscall.Signal) error {
	const stopTimeout = 30 * time.Second
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running() {
		n.proc = nil
		return nil
	}
	// Errors only mean that the process has already exited. A paused process needs SIGCONT to
	// receive SIGTERM.
	_ = n.proc.Signal(s)
	_ = n.proc.Signal(syscall.SIGCONT)
	var err error
	select {
	case <-n.exited:
	case <-time.After(stopTimeout):
		_ = n.proc.Kill()
		<-n.exited
		err = fmt.Errorf("stop node %d: killed because it was still running %v after SIGTERM", n.id, stopTimeout)
	}
	n.proc = nil
	return err
}

// running reports whether the process is running. The caller holds mu.
func (n *node) running() bool {
	if n.proc == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// serves reports whether the node should respond, which means that it is started and not paused. It
// returns an error if the node exited unexpectedly.
func (n *node) serves() (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && !n.running() {
		return false, fmt.Errorf("node %d exited unexpectedly:\n%s", n.id, n.logTail())
	}
	return n.proc != nil && !n.paused, nil
}

// logTail returns the end of the node's log, without INFO lines.
func (n *node) logTail() string {
	const most = 40
	log, err := os.ReadFile(n.logPath())
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, " INFO ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "")
}

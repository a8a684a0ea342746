//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build builds the program into dir and returns the path of the binary. replace maps the paths of
// source files, relative to the module root, to replacement content.
func Build(ctx context.Context, dir string, replace map[string][]byte) (string, error) {
	root, err := ModuleRoot(ctx)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "segment-to-launchdarkly")
	args := []string{"build", "-o", binary}
	if len(replace) > 0 {
		overlay := map[string]map[string]string{"Replace": {}}
		for path, content := range replace {
			with := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
			if err := os.WriteFile(with, content, 0o644); err != nil {
				return "", err
			}
			overlay["Replace"][filepath.Join(root, path)] = with
		}
		text, err := json.Marshal(overlay)
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, "overlay.json")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return "", err
		}
		args = append(args, "-overlay", file)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/segment-to-launchdarkly")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return binary, nil
}

// ModuleRoot returns the root directory of the module that contains the working directory.
func ModuleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module root: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// member is a process that runs the program.
type member struct {
	name     string
	wire     *wire
	instance string // instance ID; empty if not a static member
	log      string // path of the log file
	process  *os.Process
	exited   chan struct{} // closed when the process has exited
	code     int           // exit code, valid after exited is closed; -1 if killed by a signal
	thawed   time.Time     // when the process was last resumed after a freeze

	mu   sync.Mutex // guards peak
	peak int        // peak anonymous memory in bytes
}

// startMember starts the program with exactly the given environment. The program's output goes to
// dir/name.log. The kernel kills the program when this process exits.
func startMember(dir, name, binary string, environ []string) (*member, error) {
	m := &member{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, "run")
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(m.exited)
		runtime.LockOSThread() // the parent-death signal is tied to this thread
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // only the exit code matters
			m.code = cmd.ProcessState.ExitCode()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	m.process = cmd.Process
	go m.watch()
	return m, nil
}

// watch measures memory at short intervals until the process has exited.
func (m *member) watch() {
	for {
		m.measure()
		select {
		case <-m.exited:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// measure updates the peak memory.
func (m *member) measure() {
	now := processMemory(m.process.Pid, anonymousNow)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peak = max(m.peak, now)
}

// These are fields of /proc/pid/status; see proc(5). The peak cannot be taken from getrusage(2),
// because ru_maxrss starts at the parent's value.
const (
	residentNow  = "VmRSS:"
	residentPeak = "VmHWM:"
	anonymousNow = "RssAnon:" // without the pages of the executable
)

// processMemory reads a memory field of a process. It returns the value in bytes, or 0 if the
// process has exited.
func processMemory(pid int, field string) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(status, []byte(field))
	kB := 0
	if _, err := fmt.Fscan(bytes.NewReader(after), &kB); err != nil {
		return 0
	}
	return kB << 10
}

func (m *member) peakBytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peak
}

// signal measures memory and sends a signal. It has no effect on a process that has exited.
func (m *member) signal(s syscall.Signal) {
	m.measure()
	_ = m.process.Signal(s)
}

// awaitRunning waits until the program has written its first log entry. Before that, the program
// does not handle signals, and SIGTERM kills the process.
func (m *member) awaitRunning() {
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline) && !m.hasExited(); {
		if info, err := os.Stat(m.log); err == nil && info.Size() > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startLimit bounds the time that a program needs to start.
const startLimit = 10 * time.Second

// stopWith sends a signal and waits until the process has exited. If the process does not exit
// within limit, stopWith kills it and returns an error.
func (m *member) stopWith(s syscall.Signal, limit time.Duration) error {
	m.signal(s)
	select {
	case <-m.exited:
		return nil
	case <-time.After(limit):
		_ = m.process.Kill()
		<-m.exited
		return fmt.Errorf("%s did not exit within %v of signal %q", m.name, limit, s)
	}
}

// hasExited reports whether the process has exited.
func (m *member) hasExited() bool {
	select {
	case <-m.exited:
		return true
	default:
		return false
	}
}

// logTail returns the last lines of the member's log.
func (m *member) logTail() string {
	const most = 15
	log, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

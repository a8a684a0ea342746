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

// Build builds the program into dir and returns its path. replace substitutes files of the source,
// by their paths in the module.
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

// ModuleRoot returns the directory of the module that the working directory is in.
func ModuleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// member is the program as a process.
type member struct {
	name     string
	wire     *wire
	instance string // instance ID; empty if it is not a static member
	log      string // file
	process  *os.Process
	exited   chan struct{} // closed when the process has ended
	code     int           // valid then; -1: by a signal
	thawed   time.Time     // when it was continued after a freeze

	mu   sync.Mutex
	peak int // guards: highest resident memory seen, in bytes
}

// startMember starts the program with an environment of only what is given. Its log goes to
// dir/name.log. It dies with this process.
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
		runtime.LockOSThread() // the kernel watches the thread that started the process
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the code says it
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

// watch measures memory until the process has ended.
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

// measure reads the peak of resident memory so far.
func (m *member) measure() {
	peak := processMemory(m.process.Pid, residentPeak)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peak = max(m.peak, peak)
}

// Fields of proc(5). getrusage(2) would not do for the peak: its maxrss begins with the parent's.
const (
	residentNow  = "VmRSS:"
	residentPeak = "VmHWM:"
)

// processMemory returns a field of a process's memory in bytes; 0 if it has exited.
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

// signal measures and then sends a signal. A process that has ended takes none.
func (m *member) signal(s syscall.Signal) {
	m.measure()
	_ = m.process.Signal(s)
}

// end sends a signal and waits for the end, which must come within limit.
func (m *member) end(s syscall.Signal, limit time.Duration) error {
	m.signal(s)
	select {
	case <-m.exited:
		return nil
	case <-time.After(limit):
		_ = m.process.Kill()
		<-m.exited
		return fmt.Errorf("%s did not end within %v of %v", m.name, limit, s)
	}
}

// ended says whether the process has ended.
func (m *member) ended() bool {
	select {
	case <-m.exited:
		return true
	default:
		return false
	}
}

// tail is the end of the member's log.
func (m *member) tail() string {
	const most = 15
	log, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

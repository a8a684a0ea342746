package checks

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The checked directories, relative to this one.
const (
	repository = "../.."
	deploy     = ".."
	chartDir   = deploy + "/helm/segment-to-launchdarkly"
)

// scratch is the directory for the binary built in this run.
var scratch string

func TestMain(m *testing.M) {
	runFake()
	var err error
	if scratch, err = os.MkdirTemp("", "segment-to-launchdarkly-checks-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// binary builds the program once, with the dependencies of its own module.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "segment-to-launchdarkly")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/segment-to-launchdarkly")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

// command returns a command that runs the program. Of the S2LD_ variables, it has only those in
// env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "S2LD_") })
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// replica is a running process of the program.
type replica struct {
	cmd    *exec.Cmd
	admin  string        // host:port
	exited chan struct{} // closed when the process has exited
}

// start runs the program until the test ends or [replica.stop] is called. If the test fails, the
// end of the program's log is in the test's log.
func start(t *testing.T, env ...string) *replica {
	t.Helper()
	r := &replica{
		cmd:    command(t, append([]string{"S2LD_ADMIN_LISTEN=127.0.0.1:0"}, env...), "run"),
		exited: make(chan struct{}),
	}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	var lines []string // read after exited is closed
	go func() {
		defer close(r.exited)
		defer close(address)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			lines = append(lines, in.Text())
			var entry struct{ Msg, Admin string }
			if json.Unmarshal(in.Bytes(), &entry) == nil && entry.Msg == "started" {
				address <- entry.Admin
			}
		}
		_ = r.cmd.Wait() // an early exit fails the test elsewhere
	}()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", r.admin, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	if r.admin = <-address; r.admin == "" {
		t.Fatal("the program exited before it logged its admin address")
	}
	return r
}

// stop stops the program and waits until it has exited. It does nothing if the program has already
// exited.
func (r *replica) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.exited:
	case <-time.After(10 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.exited
	}
}

// scrape returns the program's metrics by name.
func (r *replica) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + r.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// total returns the sum of a metric's series.
func total(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// until waits until done returns true. It fails the test after the timeout.
func until(t *testing.T, what string, timeout time.Duration, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", timeout, what)
		}
	}
}

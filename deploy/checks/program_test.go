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

// The directories that are checked, as seen from this one.
const (
	repository = "../.."
	deploy     = ".."
	chartDir   = deploy + "/helm/segment-to-launchdarkly"
)

// scratch holds what is built for this run.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "segment-to-launchdarkly-checks-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// binary builds the program, once, with its own module's dependencies.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "segment-to-launchdarkly")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/segment-to-launchdarkly")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

// command returns the program, to be run without any setting of the environment's.
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

// replica is the program as a process.
type replica struct {
	cmd   *exec.Cmd
	admin string // host:port
	ended chan struct{}
}

// start runs the program until the test ends or [replica.stop] is called. Its log is the test's.
func start(t *testing.T, env ...string) *replica {
	t.Helper()
	r := &replica{cmd: command(t, append([]string{"S2LD_ADMIN_LISTEN=127.0.0.1:0"}, env...), "run"), ended: make(chan struct{})}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	var lines []string // read after ended
	go func() {
		defer close(r.ended)
		defer close(address)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			lines = append(lines, in.Text())
			var entry struct{ Msg, Admin string }
			if json.Unmarshal(in.Bytes(), &entry) == nil && entry.Msg == "started" {
				address <- entry.Admin
			}
		}
		_ = r.cmd.Wait() // that it ended early shows elsewhere
	}()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log of %s, its end:\n%s", r.admin, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	if r.admin = <-address; r.admin == "" {
		t.Fatal("the program ended before it started")
	}
	return r
}

// stop asks the program to end and waits for it. It does nothing if it has ended.
func (r *replica) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.ended
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

// until waits until done, and fails the test if that takes too long.
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
			t.Fatalf("in %v not seen: %s", timeout, what)
		}
	}
}

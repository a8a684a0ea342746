package checks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// speedup divides every duration in the rules, so that 15 minutes become 9 seconds. Nothing else in
// the rules changes.
const speedup = 100

// accelerate returns an expression with its durations divided by speedup.
func accelerate(t *testing.T, expr string) string {
	t.Helper()
	parsed, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.MatrixSelector:
			n.Range /= speedup
		case *parser.VectorSelector:
			n.OriginalOffset /= speedup
		case *parser.SubqueryExpr:
			t.Fatalf("%s: subqueries are not supported", expr)
		}
		return nil
	})
	return parsed.String()
}

// acceleratedRules returns the rules file with all durations divided by speedup.
func acceleratedRules(t *testing.T) []byte {
	t.Helper()
	return changedRules(t, func(r map[string]any) {
		r["expr"] = accelerate(t, r["expr"].(string))
		if text, ok := r["for"].(string); ok {
			d, err := model.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			r["for"] = (d / speedup).String()
		}
	})
}

// prometheus is a running Prometheus.
type prometheus struct {
	t       *testing.T
	url     string
	targets string            // path of the targets file
	pods    map[string]string // addresses of the replicas by pod name
}

var listening = regexp.MustCompile(`msg="Listening on" .*address=(\S+)`)

// startPrometheus runs a Prometheus with the accelerated rules until the test ends.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	path, err := prometheusPath()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &prometheus{t: t, targets: filepath.Join(dir, "targets.json"), pods: map[string]string{}}
	p.writeTargets()
	for name, content := range map[string]string{
		"rules.yaml": string(acceleratedRules(t)),
		"prometheus.yaml": `
global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: forwarder
    file_sd_configs: [{files: [targets.json]}]
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path,
		"--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--query.lookback-delta=3s")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, exited := make(chan string, 1), make(chan struct{})
	var log []string // read after exited is closed
	go func() {
		defer close(exited)
		defer close(address)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			log = append(log, in.Text())
			if m := listening.FindStringSubmatch(in.Text()); m != nil {
				address <- m[1]
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("end of the log of Prometheus:\n%s", strings.Join(log[max(0, len(log)-20):], "\n"))
		}
	})
	select {
	case a := <-address:
		p.url = "http://" + a
	case <-time.After(time.Minute):
		t.Fatal("Prometheus does not listen")
	}
	until(t, "Prometheus to be ready", time.Minute, func() bool {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// writeTargets writes the targets file, which Prometheus reloads automatically.
func (p *prometheus) writeTargets() {
	groups := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(p.pods)) {
		groups = append(groups, map[string]any{
			"targets": []string{p.pods[name]},
			"labels":  map[string]string{"namespace": "data", "pod": name},
		})
	}
	content, err := json.Marshal(groups)
	if err == nil {
		err = os.WriteFile(p.targets+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(p.targets+".new", p.targets)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// add and drop change the targets, like Kubernetes when a pod starts or stops.
func (p *prometheus) add(name string, r *replica) { p.pods[name] = r.admin; p.writeTargets() }

func (p *prometheus) drop(name string) { delete(p.pods, name); p.writeTargets() }

// get requests a path of Prometheus's API and decodes the response's data into the given value.
func (p *prometheus) get(path string, into any) {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	response := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil || response.Status != "success" {
		p.t.Fatalf("%s: %v %s", path, err, response.Error)
	}
}

// query returns the labels of each series of an expression's result.
func (p *prometheus) query(expr string) (found []map[string]string) {
	p.t.Helper()
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	p.get("/api/v1/query?query="+url.QueryEscape(expr), &data)
	for _, r := range data.Result {
		found = append(found, r.Metric)
	}
	return found
}

// firing returns the names of the firing alerts without their common prefix, followed by the labels
// that distinguish alerts with the same name.
func (p *prometheus) firing() (names []string) {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	p.get("/api/v1/alerts", &data)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			name := strings.TrimPrefix(a.Labels["alertname"], "SegmentToLaunchDarkly")
			for _, label := range []string{"reason", "partition", "pod"} {
				if v := a.Labels[label]; v != "" {
					name += fmt.Sprintf(" %s=%s", label, v)
				}
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// follow waits until all wanted alerts fire at the same time, and returns them in the order in
// which they started to fire. It fails the test if an alert fires that is neither wanted nor
// tolerated.
func (p *prometheus) follow(timeout time.Duration, tolerated []string, want ...string) (order []string) {
	p.t.Helper()
	deadline := time.Now().Add(timeout)
	for tick := time.Tick(100 * time.Millisecond); ; <-tick {
		firing := p.firing()
		missing := slices.Clone(want)
		for _, name := range firing {
			if i := slices.Index(missing, name); i >= 0 {
				missing = slices.Delete(missing, i, i+1)
			} else if !slices.Contains(tolerated, name) {
				p.t.Fatalf("%s is firing, want %v", name, want)
			}
			if !slices.Contains(order, name) && slices.Contains(want, name) {
				order = append(order, name)
			}
		}
		if len(missing) == 0 {
			return order
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v, %v firing, but not %v", timeout, firing, missing)
		}
	}
}

// quiet waits until no alert is firing.
func (p *prometheus) quiet(timeout time.Duration) {
	p.t.Helper()
	until(p.t, "all alerts to clear", timeout, func() bool { return len(p.firing()) == 0 })
}

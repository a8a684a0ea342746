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

// hurry divides every time in the rules, so that a quarter of an hour passes in 9 seconds. Nothing else in them changes.
const hurry = 100

// hurried returns an expression with its times divided.
func hurried(t *testing.T, expr string) string {
	t.Helper()
	parsed, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.MatrixSelector:
			n.Range /= hurry
		case *parser.VectorSelector:
			n.OriginalOffset /= hurry
		case *parser.SubqueryExpr:
			t.Fatalf("%s: subqueries are not hurried", expr)
		}
		return nil
	})
	return parsed.String()
}

// hurriedRules returns the rules with their times divided.
func hurriedRules(t *testing.T) []byte {
	t.Helper()
	return changedRules(t, func(r map[string]any) {
		r["expr"] = hurried(t, r["expr"].(string))
		if text, ok := r["for"].(string); ok {
			d, err := model.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			r["for"] = (d / hurry).String()
		}
	})
}

// prometheus is one that runs.
type prometheus struct {
	t       *testing.T
	url     string
	targets string            // file
	pods    map[string]string // address by name of the replica
}

var listening = regexp.MustCompile(`msg="Listening on" .*address=(\S+)`)

// startPrometheus runs a Prometheus with the hurried rules until the test ends.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	path, err := prometheusPath()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &prometheus{t: t, targets: filepath.Join(dir, "targets.json"), pods: map[string]string{}}
	p.write()
	for name, content := range map[string]string{
		"rules.yaml": string(hurriedRules(t)),
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
	address, ended := make(chan string, 1), make(chan struct{})
	var log []string // read after ended
	go func() {
		defer close(ended)
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
		<-ended
		if t.Failed() {
			t.Logf("log of Prometheus, its end:\n%s", strings.Join(log[max(0, len(log)-20):], "\n"))
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

// write writes the file of targets, which Prometheus reads again by itself.
func (p *prometheus) write() {
	groups := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(p.pods)) {
		groups = append(groups, map[string]any{"targets": []string{p.pods[name]}, "labels": map[string]string{"namespace": "data", "pod": name}})
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

// add and drop change what is scraped, as Kubernetes does when a pod comes and goes.
func (p *prometheus) add(name string, r *replica) { p.pods[name] = r.admin; p.write() }

func (p *prometheus) drop(name string) { delete(p.pods, name); p.write() }

// get asks Prometheus' API.
func (p *prometheus) get(path string, into any) {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s: %v %s", path, err, answer.Error)
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

// firing returns the alerts that fire, without their common prefix, and with what tells one from another.
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

// follow waits until exactly the wanted alerts have fired since it was called, and returns the order in which they
// did. The tolerated ones may fire too.
func (p *prometheus) follow(timeout time.Duration, tolerated []string, want ...string) (order []string) {
	p.t.Helper()
	ctx := time.Now().Add(timeout)
	for tick := time.Tick(100 * time.Millisecond); ; <-tick {
		firing := p.firing()
		missing := slices.Clone(want)
		for _, name := range firing {
			if i := slices.Index(missing, name); i >= 0 {
				missing = slices.Delete(missing, i, i+1)
			} else if !slices.Contains(tolerated, name) {
				p.t.Fatalf("%s fires, want %v", name, want)
			}
			if !slices.Contains(order, name) && slices.Contains(want, name) {
				order = append(order, name)
			}
		}
		if len(missing) == 0 {
			return order
		}
		if time.Now().After(ctx) {
			p.t.Fatalf("in %v there fired %v, and not %v", timeout, firing, missing)
		}
	}
}

// quiet waits until no alert fires.
func (p *prometheus) quiet(timeout time.Duration) {
	p.t.Helper()
	until(p.t, "that no alert fires", timeout, func() bool { return len(p.firing()) == 0 })
}

package checks

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	compose "github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// composed is docker-compose.yml as docker compose config reads it: merged, interpolated, validated.
func composed(t *testing.T) *types.Project {
	t.Helper()
	options, err := compose.NewProjectOptions([]string{repository + "/docker-compose.yml"}, compose.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeAcceptsTheFile(t *testing.T) {
	p := composed(t)
	for _, name := range []string{"kafka", "launchdarkly", "segment-to-launchdarkly", "generator", "prometheus", "grafana"} {
		s, ok := p.Services[name]
		if !ok {
			t.Errorf("no service %s", name)
			continue
		}
		if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 {
			t.Errorf("%s: no health check", name)
		}
	}
	for name, s := range p.Services {
		if _, tag, _ := strings.Cut(s.Image, ":"); s.Build == nil && (tag == "" || tag == "latest") {
			t.Errorf("%s: image %s may be another tomorrow", name, s.Image)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is everybody's", name, port.Published)
			}
		}
		for _, v := range s.Volumes {
			if info, err := os.Stat(v.Source); err != nil || info.IsDir() || !v.ReadOnly {
				t.Errorf("%s: %s is no file, or writable: %v", name, v.Source, err)
			}
		}
		for on, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionHealthy && p.Services[on].HealthCheck == nil {
				t.Errorf("%s waits for %s to be healthy, which nobody checks", name, on)
			}
		}
		if s.Build != nil && !slices.Contains(strings.Fields(string(readFile(t, s.Build.Context+"/"+s.Build.Dockerfile))), s.Build.Target) {
			t.Errorf("%s: %s has no stage %s", name, s.Build.Dockerfile, s.Build.Target)
		}
	}
}

func TestComposeGivesTheProgramALegalConfiguration(t *testing.T) {
	s := composed(t).Services["segment-to-launchdarkly"]
	var env []string
	for name, value := range s.Environment {
		env = append(env, name+"="+*value)
	}
	if out, err := check(t, "", env); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if time.Duration(*s.StopGracePeriod) < 35*time.Second { // the default drain, the last commit, and 5 s to leave
		t.Errorf("grace period %v", s.StopGracePeriod)
	}
}

// mounted returns the files of a service, by their path in the container.
func mounted(p *types.Project, service string) map[string]string {
	files := map[string]string{}
	for _, v := range p.Services[service].Volumes {
		files[v.Target] = v.Source
	}
	return files
}

func TestPrometheusInComposeScrapesTheProgram(t *testing.T) {
	p := composed(t)
	var config struct {
		Scrapes []struct {
			Static []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(readFile(t, mounted(p, "prometheus")["/etc/prometheus/prometheus.yml"]), &config); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(config.Scrapes[0].Static[0].Targets[0], ":")
	if s, ok := p.Services[host]; !ok || s.Ports[0].Target != 9464 || port != "9464" {
		t.Errorf("it scrapes %s:%s", host, port)
	}
}

func TestGrafanaInComposeFindsTheDashboard(t *testing.T) {
	p := composed(t)
	files := mounted(p, "grafana")
	var sources struct{ Datasources []struct{ Type, URL string } }
	var providers struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	for path, into := range map[string]any{
		"/etc/grafana/provisioning/datasources/datasource.yaml": &sources,
		"/etc/grafana/provisioning/dashboards/provider.yaml":    &providers,
	} {
		if files[path] == "" {
			t.Fatalf("no %s in %v", path, files)
		}
		if err := yaml.Unmarshal(readFile(t, files[path]), into); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := p.Services["prometheus"]; !ok || sources.Datasources[0].Type != "prometheus" || sources.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("data source %+v", sources)
	}
	path := providers.Providers[0].Options.Path + "/dashboard.json"
	if want, _ := filepath.Abs(dashboardFile); files[path] != want {
		t.Errorf("%s is %q, want %s", path, files[path], want)
	}
	if home := p.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]; home == nil || *home != path {
		t.Errorf("at home there is %v", home)
	}
}

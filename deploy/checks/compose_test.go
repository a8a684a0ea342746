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

// loadCompose loads docker-compose.yml like docker compose config: merged, interpolated, and
// validated.
func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	files := []string{repository + "/docker-compose.yml"}
	options, err := compose.NewProjectOptions(files, compose.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeFileIsValid(t *testing.T) {
	p := loadCompose(t)
	for _, name := range []string{
		"kafka", "launchdarkly", "segment-to-launchdarkly", "generator", "prometheus", "grafana",
	} {
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
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %s is not pinned to a digest", name, s.Image)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is not bound to 127.0.0.1", name, port.Published)
			}
		}
		for _, v := range s.Volumes {
			if info, err := os.Stat(v.Source); err != nil || info.IsDir() || !v.ReadOnly {
				t.Errorf("%s: %s is not a file, or is mounted writable: %v", name, v.Source, err)
			}
		}
		for on, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionHealthy && p.Services[on].HealthCheck == nil {
				t.Errorf("%s waits until %s is healthy, but %[2]s has no health check", name, on)
			}
		}
		if s.Build != nil {
			words := strings.Fields(string(readFile(t, s.Build.Context+"/"+s.Build.Dockerfile)))
			if !slices.Contains(words, s.Build.Target) {
				t.Errorf("%s: %s has no stage %s", name, s.Build.Dockerfile, s.Build.Target)
			}
		}
	}
}

func TestComposeConfigurationIsValid(t *testing.T) {
	s := loadCompose(t).Services["segment-to-launchdarkly"]
	var env []string
	for name, value := range s.Environment {
		env = append(env, name+"="+*value)
	}
	if out, err := check(t, "", env); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	// See ShutdownTimeout in cmd/internal/app, which a test there compares with the compose file.
	if time.Duration(*s.StopGracePeriod) < 42*time.Second {
		t.Errorf("stop_grace_period %v is too short", s.StopGracePeriod)
	}
}

// mounted returns the mounted files of a service by their path in the container.
func mounted(p *types.Project, service string) map[string]string {
	files := map[string]string{}
	for _, v := range p.Services[service].Volumes {
		files[v.Target] = v.Source
	}
	return files
}

func TestComposePrometheusScrapesTheProgram(t *testing.T) {
	p := loadCompose(t)
	var config struct {
		Scrapes []struct {
			Static []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	path := mounted(p, "prometheus")["/etc/prometheus/prometheus.yml"]
	if err := yaml.Unmarshal(readFile(t, path), &config); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(config.Scrapes[0].Static[0].Targets[0], ":")
	if s, ok := p.Services[host]; !ok || s.Ports[0].Target != 9464 || port != "9464" {
		t.Errorf("Prometheus scrapes %s:%s", host, port)
	}
}

func TestComposeGrafanaFindsTheDashboard(t *testing.T) {
	p := loadCompose(t)
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
	source := sources.Datasources[0]
	if _, ok := p.Services["prometheus"]; !ok || source.Type != "prometheus" || source.URL != "http://prometheus:9090" {
		t.Errorf("data source %+v", source)
	}
	path := providers.Providers[0].Options.Path + "/dashboard.json"
	if want, _ := filepath.Abs(dashboardFile); files[path] != want {
		t.Errorf("%s is %q, want %s", path, files[path], want)
	}
	home := p.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if home == nil || *home != path {
		t.Errorf("home dashboard is %v, want %s", home, path)
	}
}

package checks

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"
)

// valueFiles returns the value files that everything is checked with, by name: default, production and so on.
func valueFiles(t *testing.T) map[string]map[string]any {
	t.Helper()
	paths, err := filepath.Glob(chartDir + "/ci/*-values.yaml")
	if err != nil || len(paths) < 6 {
		t.Fatalf("value files: %v, %v", paths, err)
	}
	files := map[string]map[string]any{}
	for _, path := range paths {
		files[strings.TrimSuffix(filepath.Base(path), "-values.yaml")] = parseValues(t, string(readFile(t, path)))
	}
	return files
}

// parseValues reads values as helm install -f does.
func parseValues(t *testing.T, text string) (values map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render renders the chart as helm install does, and returns the manifests by template.
func render(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	c := loadChart(t)
	release := chartutil.ReleaseOptions{Name: "events", Namespace: "data", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(c, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	manifests := map[string]string{}
	for name, content := range files {
		if strings.TrimSpace(content) != "" {
			manifests[filepath.Base(name)] = content
		}
	}
	return manifests, err
}

func TestHelmLint(t *testing.T) {
	files := valueFiles(t)
	files["none"] = map[string]any{}
	for name, values := range files {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.All(chartDir, values, "data", false).Messages {
				if m.Severity > support.InfoSev { // an icon is recommended
					t.Error(m)
				}
			}
		})
	}
}

func TestHelmRefusesValuesThatCannotWork(t *testing.T) {
	base := "config: {kafka: {brokers: ['a:1'], topics: [t]}, launchdarkly: {client_side_id: abc}}\n"
	fromEnv := "config: {kafka: {topics: [t]}, launchdarkly: {client_side_id: abc}}\nenv: [{name: S2LD_KAFKA_BROKERS, value: 'a:1'}]\n"
	for name, tt := range map[string]struct{ values, want string }{
		"nothing set":                            {"{}", "config.kafka.brokers must be set"},
		"no topics":                              {"config: {kafka: {brokers: ['a:1']}}", "config.kafka.topics must be set"},
		"no client-side ID":                      {"config: {kafka: {brokers: ['a:1'], topics: [t]}}", "config.launchdarkly.client_side_id must be set"},
		"an unknown value":                       {base + "replicaCount: 3", "replicaCount"},
		"an unknown key of config":               {"config: {kafka: {broker: ['a:1']}}", "broker"},
		"an unknown kind of scaler":              {base + "autoscaling: {kind: vpa}", "kind"},
		"a size that is none":                    {base + "batch: 3", "batch"},
		"no partitions":                          {base + "autoscaling: {partitions: 0}", "partitions"},
		"more replicas than partitions at least": {base + "autoscaling: {enabled: true, partitions: 3, minReplicas: 4}", "minReplicas must be at most 3"},
		"one name for all replicas":              {strings.Replace(base, "brokers", "instance_id: one, brokers", 1), "instance_id must not be set"},
		"nodes that cannot be drained":           {base + "podDisruptionBudget: {maxUnavailable: 0}", "maxUnavailable"},
		"nor by percentage":                      {base + "podDisruptionBudget: {maxUnavailable: 0%}", "maxUnavailable"},
		"KEDA without brokers":                   {fromEnv + "autoscaling: {enabled: true}", "config.kafka.brokers"},
		"no way to Kafka":                        {fromEnv + "networkPolicy: {enabled: true}", "networkPolicy.kafkaPorts must be set"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := render(t, parseValues(t, tt.values)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to name %s", err, tt.want)
			}
		})
	}
	for _, values := range []string{base, fromEnv} {
		if _, err := render(t, parseValues(t, values)); err != nil {
			t.Errorf("what they all add to: %v", err)
		}
	}
}

// A default that the comments of values.yaml do not know of is one that nobody finds.
func TestValuesSchemaKnowsExactlyTheDefaults(t *testing.T) {
	c := loadChart(t)
	var schema struct{ Properties map[string]any }
	if err := yaml.Unmarshal(c.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global") // Helm's own
	got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(c.Values))
	if !slices.Equal(got, want) {
		t.Errorf("values.schema.json has %v, values.yaml has %v", got, want)
	}
}

// The chart's rules and dashboard are links to those of deploy/: a package holds the files themselves.
func TestAPackageHoldsTheRulesAndTheDashboard(t *testing.T) {
	path, err := chartutil.Save(loadChart(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := loader.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"files/rules.yaml": rulesFile, "files/dashboard.json": dashboardFile} {
		i := slices.IndexFunc(c.Files, func(f *chart.File) bool { return f.Name == name })
		if i < 0 || !bytes.Equal(c.Files[i].Data, readFile(t, source)) {
			t.Errorf("%s is not %s", name, source)
		}
	}
	if slices.ContainsFunc(c.Files, func(f *chart.File) bool { return strings.HasPrefix(f.Name, "ci/") }) {
		t.Error("it holds the value files of the checks")
	}
}

func TestNotesTellWhatIsMissing(t *testing.T) {
	for name, want := range map[string]bool{"default": true, "production": false} {
		manifests, err := render(t, valueFiles(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, missing := range []string{"no dead-letter topic", "Nothing alerts"} {
			if got := strings.Contains(manifests["NOTES.txt"], missing); got != want {
				t.Errorf("%s: %s: %v", name, missing, got)
			}
		}
	}
}

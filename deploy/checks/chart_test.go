package checks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const kubeVersion = "1.37.2" // the version of schemas/

// deployment holds the parts of a rendered Deployment or Job that the checks use.
type deployment struct {
	name   string            // name of the Deployment or Job
	config string            // content of the configuration file
	args   []string          // arguments of the container
	env    map[string]string // environment of the container; a variable with valueFrom is empty
}

// render renders the chart with helm template, and returns its Deployments and Jobs.
func render(t *testing.T, valuesFile string) (all []deployment) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "helm", "template", "events", chartDir, "--namespace", "data",
		"--kube-version", kubeVersion, "--values", valuesFile)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	configs := map[string]string{} // by name of the ConfigMap
	for manifest := range strings.SplitSeq(string(out), "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
			Spec     struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Args []string
							Env  []struct{ Name, Value string }
						}
						Volumes []struct {
							ConfigMap struct{ Name string }
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
			t.Fatal(err)
		}
		switch object.Kind {
		case "ConfigMap":
			if config, ok := object.Data["config.yaml"]; ok {
				configs[object.Metadata.Name] = config
			}
		case "Deployment", "Job":
			pod := object.Spec.Template.Spec
			d := deployment{
				name: object.Metadata.Name, config: pod.Volumes[0].ConfigMap.Name, args: pod.Containers[0].Args,
				env: map[string]string{},
			}
			for _, e := range pod.Containers[0].Env {
				d.env[e.Name] = e.Value
			}
			all = append(all, d)
		}
	}
	for i, d := range all {
		if all[i].config = configs[d.config]; all[i].config == "" {
			t.Fatalf("%s: no configuration for %s", valuesFile, d.name)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s: no Deployment or Job", valuesFile)
	}
	return all
}

// valueFiles returns the paths of the chart's value files for tests and of those for services.
func valueFiles(t *testing.T) (paths []string) {
	t.Helper()
	for _, pattern := range []string{"/ci/*-values.yaml", "/examples/*.yaml"} {
		found, err := filepath.Glob(chartDir + pattern)
		if err != nil || len(found) < 6 {
			t.Fatalf("value files: %v, %v", found, err)
		}
		paths = append(paths, found...)
	}
	return paths
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Kubernetes rejects changes to a Job.
func TestChangedValuesReplaceTheJob(t *testing.T) {
	path := chartDir + "/ci/job-values.yaml"
	before := render(t, path)[0].name
	if again := render(t, path)[0].name; again != before {
		t.Errorf("the same values render %s and %s", before, again)
	}
	changed := filepath.Join(t.TempDir(), "values.yaml")
	values := strings.ReplaceAll(string(readFile(t, path)), "no_user_key", "malformed")
	if err := os.WriteFile(changed, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := render(t, changed)[0].name; after == before {
		t.Errorf("changed values render the same Job, %s", after)
	}
}

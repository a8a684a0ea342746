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

// release holds the parts of a rendered chart that the checks use.
type release struct {
	name   string            // name of the Deployment
	config string            // content of the configuration file
	env    map[string]string // environment of the container; a variable with valueFrom is empty
}

// render renders the chart with helm template.
func render(t *testing.T, valuesFile string) (r release) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "helm", "template", "events", chartDir, "--namespace", "data",
		"--kube-version", "1.37.2", "--values", valuesFile)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	for manifest := range strings.SplitSeq(string(out), "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
			Spec     struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Env []struct{ Name, Value string }
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
				r.config = config
			}
		case "Deployment":
			r.name, r.env = object.Metadata.Name, map[string]string{}
			for _, e := range object.Spec.Template.Spec.Containers[0].Env {
				r.env[e.Name] = e.Value
			}
		}
	}
	if r.name == "" || r.config == "" {
		t.Fatalf("%s: Deployment or configuration missing", valuesFile)
	}
	return r
}

// valueFiles returns the paths of the chart's value files for tests.
func valueFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(chartDir + "/ci/*-values.yaml")
	if err != nil || len(paths) < 6 {
		t.Fatalf("value files: %v, %v", paths, err)
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

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

// release is what the checks read of a rendered chart.
type release struct {
	name   string            // of the Deployment
	config string            // the configuration file
	env    map[string]string // of the container; empty values come from elsewhere in Kubernetes
}

// render renders the chart by helm template.
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
		t.Fatalf("%s: no Deployment or no configuration", valuesFile)
	}
	return r
}

// valueFiles returns the paths of the value files that everything is checked with.
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

package checks

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the program's JSON schema into values.schema.json")

// The check runs with the environment variables of the rendered container.
func TestProgramAcceptsTheRenderedConfiguration(t *testing.T) {
	valueFrom := map[string]string{"S2LD_KAFKA_BROKERS": "kafka:9092", "S2LD_KAFKA_RACK": "a"}
	for _, path := range valueFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			for _, d := range render(t, path) {
				var env []string
				for name, value := range d.env {
					if strings.HasPrefix(name, "S2LD_") {
						env = append(env, name+"="+cmp.Or(value, valueFrom[name]))
					}
				}
				if out, err := check(t, d.config, env); err != nil {
					t.Errorf("%s: %v\n%s\n%s", d.name, err, out, d.config)
				}
			}
		})
	}
	if out, err := check(t, "kafka: {broker: a}", nil); err == nil {
		t.Errorf("an unknown key is accepted: %s", out)
	}
}

// check runs segment-to-launchdarkly check --offline.
func check(t *testing.T, config string, env []string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, env, "check", "--offline", "--config", path).CombinedOutput()
	return string(out), err
}

// The value config holds the program's configuration, so it has the program's schema.
func TestValuesSchemaContainsTheProgramsSchema(t *testing.T) {
	out, err := command(t, nil, "config", "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want, schema map[string]any
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	delete(want, "$schema") // only at the top level
	path := chartDir + "/values.schema.json"
	if err := json.Unmarshal(readFile(t, path), &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema["properties"].(map[string]any)
	checkDefaults(t, properties)
	if reflect.DeepEqual(properties["config"], want) {
		return
	}
	if !*update {
		t.Fatalf("%s does not contain the program's schema: run go test -run TestValuesSchema -update", path)
	}
	properties["config"] = want
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkDefaults checks that values.yaml, which documents the values, has each value of the schema,
// and that each environment can override it unless the release has it once. helm lint checks the
// reverse.
func checkDefaults(t *testing.T, properties map[string]any) {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal(readFile(t, chartDir+"/values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	once := []string{
		"commonLabels", "dashboard", "environments", "extraObjects", "fullnameOverride", "nameOverride", "prometheusRule",
	}
	environment := properties["environments"].(map[string]any)["items"].(map[string]any)["properties"].(map[string]any)
	for name := range properties {
		if name == "global" { // Helm defines global
			continue
		}
		if _, ok := values[name]; !ok {
			t.Errorf("values.yaml has no %s", name)
		}
		want := any(map[string]any{"$ref": "#/properties/" + name})
		if slices.Contains(once, name) {
			want = nil
		}
		if !reflect.DeepEqual(environment[name], want) {
			t.Errorf("schema of %s in environments: %v, want %v", name, environment[name], want)
		}
	}
}

package checks

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the program says into the files that are compared with it")

// The program accepts what the chart renders, with the variables that the container has.
func TestTheProgramAcceptsTheConfiguration(t *testing.T) {
	elsewhere := map[string]string{"S2LD_KAFKA_BROKERS": "kafka:9092", "S2LD_KAFKA_RACK": "a"} // valueFrom
	everyRelease(t, func(t *testing.T, o objects) {
		var env []string
		for _, e := range container(o).Env {
			if strings.HasPrefix(e.Name, "S2LD_") {
				if e.ValueFrom != nil {
					e.Value = elsewhere[e.Name]
				}
				env = append(env, e.Name+"="+e.Value)
			}
		}
		if out, err := check(t, o.Config.Data["config.yaml"], env); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, o.Config.Data["config.yaml"])
		}
	})
	if out, err := check(t, "kafka: {broker: a}", nil); err == nil {
		t.Errorf("it accepts anything: %s", out)
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

// What stands under config in the values is the program's configuration: its schema is the program's.
func TestValuesSchemaIsTheProgramsForConfig(t *testing.T) {
	out, err := command(t, nil, "config", "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want, schema map[string]any
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	delete(want, "$schema") // it stands at the top
	path := chartDir + "/values.schema.json"
	if err := json.Unmarshal(readFile(t, path), &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema["properties"].(map[string]any)
	if reflect.DeepEqual(properties["config"], want) {
		return
	}
	if !*update {
		t.Fatalf("%s does not have the program's schema: go test -run TestValuesSchema -update", path)
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

package checks

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// cronJobFile is the manifest that keeps segment.events.only_file up to date.
const cronJobFile = deploy + "/metrics-cronjob.yaml"

// container holds the parts of a container that the checks use.
type container struct {
	Args []string
	Env  []struct{ Name, Value string }
}

// The first container of the CronJob writes a manifest of exactly the objects that the role can
// change. The second container applies this manifest.
func TestCronJobAppliesTheListOfEventKeys(t *testing.T) {
	var allowed []string // resource and name
	var first, second container
	for manifest := range strings.SplitSeq(string(readFile(t, cronJobFile)), "\n---\n") {
		var object struct {
			Kind  string
			Rules []struct {
				Resources, ResourceNames, Verbs []string
			}
			Spec struct {
				JobTemplate struct {
					Spec struct {
						Template struct {
							Spec struct{ InitContainers, Containers []container }
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
			t.Fatal(err)
		}
		for _, r := range object.Rules {
			if len(r.Resources) != 1 || len(r.ResourceNames) != 1 || !slices.Contains(r.Verbs, "patch") {
				t.Fatalf("unexpected rule: %+v", r)
			}
			allowed = append(allowed, r.Resources[0]+" "+r.ResourceNames[0])
		}
		if object.Kind == "CronJob" {
			pod := object.Spec.JobTemplate.Spec.Template.Spec
			if len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
				t.Fatalf("unexpected containers: %+v", pod)
			}
			first, second = pod.InitContainers[0], pod.Containers[0]
		}
	}

	ld := &ldtest.API{Metrics: map[string][]ldtest.Metric{
		ldtest.Sample.Project: {{Key: "m", EventKey: "Order Completed"}, {Key: "n", EventKey: "E"}},
	}}
	server := httptest.NewServer(ldtest.New(ldtest.Config{API: ld}))
	defer server.Close()
	env := []string{"S2LD_LAUNCHDARKLY_API_URL=" + server.URL}
	values := map[string]string{
		"S2LD_LAUNCHDARKLY_PROJECT_KEY": ldtest.Sample.Project, "S2LD_LAUNCHDARKLY_API_TOKEN": ldtest.APIToken,
	}
	for _, e := range first.Env {
		env = append(env, e.Name+"="+values[e.Name])
	}
	written, dir := "", t.TempDir()
	args := slices.Clone(first.Args)
	for i, arg := range args {
		if path, ok := strings.CutPrefix(arg, "--output="); ok {
			written, args[i] = path, "--output="+filepath.Join(dir, "manifest.json")
		}
	}
	if out, err := command(t, env, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !slices.Contains(second.Args, "--filename="+written) || !slices.Contains(second.Args, "--server-side") {
		t.Errorf("%v does not apply %s", second.Args, written)
	}

	content, err := os.Open(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var applied []string
	for objects := json.NewDecoder(content); objects.More(); {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := objects.Decode(&object); err != nil {
			t.Fatal(err)
		}
		applied = append(applied, strings.ToLower(object.Kind)+"s "+object.Metadata.Name)
		for name, text := range object.Data { // the comment in the manifest contains the name
			if text != "E\nOrder Completed\n" || !bytes.Contains(readFile(t, cronJobFile), []byte("/metrics/"+name+"}")) {
				t.Errorf("%s: %q", name, text)
			}
		}
	}
	slices.Sort(applied)
	slices.Sort(allowed)
	if !slices.Equal(applied, allowed) {
		t.Errorf("the manifest contains %q, and the role allows %q", applied, allowed)
	}
	if name := "deployments " + render(t, defaultValues)[0].name; !slices.Contains(applied, name) {
		t.Errorf("the manifest does not contain %s, the chart's", name)
	}
}

package checks

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"sigs.k8s.io/yaml"
)

// runbookURL is the URL of the runbook in the alerts' annotations.
const runbookURL = "https://github.com/segment-to-launchdarkly/forwarder/blob/main/deploy/README.md"

// defaultValues sets only the required values.
const defaultValues = chartDir + "/ci/default-values.yaml"

var (
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inSlug  = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// anchors returns the anchors that GitHub generates for a document's headings.
func anchors(document string) (found []string) {
	for _, h := range submatches(heading, document) {
		found = append(found, strings.ReplaceAll(inSlug.ReplaceAllString(strings.ToLower(h), ""), " ", "-"))
	}
	return found
}

func TestEachAlertHasARunbookSection(t *testing.T) {
	runbook := string(readFile(t, runbookFile))
	found := anchors(runbook)
	var names []string
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		url, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "#")
		if url != runbookURL || anchor != strings.ToLower(a.Alert) || !slices.Contains(found, anchor) {
			t.Errorf("%s: %s is not the URL of its section", a.Alert, a.Annotations["runbook_url"])
		}
		_, section, _ := strings.Cut(runbook, "\n### "+a.Alert+"\n")
		section, _, _ = strings.Cut(section, "\n##")
		for _, part := range []string{"**Means**", "**Look at**", "**Do**"} {
			if strings.Count(section, part) != 1 {
				t.Errorf("%s: %s missing or repeated", a.Alert, part)
			}
		}
	}
	for _, h := range submatches(heading, runbook) {
		if strings.HasPrefix(h, "SegmentToLaunchDarkly") && !slices.Contains(names, h) {
			t.Errorf("section %s has no alert", h)
		}
	}
}

func TestRunbookLinksHaveTargets(t *testing.T) {
	runbook := string(readFile(t, runbookFile))
	links := submatches(link, runbook)
	if len(links) < 20 {
		t.Fatalf("only %d links found", len(links))
	}
	for _, l := range links {
		path, anchor, _ := strings.Cut(l, "#")
		switch {
		case strings.HasPrefix(l, "https://"):
		case path == "" && !slices.Contains(anchors(runbook), anchor):
			t.Errorf("no section %s", l)
		case path != "":
			if _, err := os.Stat(filepath.Join(deploy, path)); err != nil {
				t.Error(err)
			}
		}
	}
}

// The chart renders the examples of Jobs, and the program knows their flags.
func TestRunbookJobsAreValid(t *testing.T) {
	blocks := submatches(regexp.MustCompile("(?s)```yaml\n(job:.*?)```"), string(readFile(t, runbookFile)))
	if len(blocks) < 2 {
		t.Fatalf("only %d blocks found", len(blocks))
	}
	for _, b := range blocks {
		path := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(path, append(readFile(t, defaultValues), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		args := render(t, path)[0].args
		if out, err := command(t, nil, append(args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// The chart renders the example of environments, and the program accepts the configurations.
func TestRunbookEnvironmentsAreValid(t *testing.T) {
	block := submatches(regexp.MustCompile("(?s)```yaml\n(environments:.*?)```"), string(readFile(t, runbookFile)))
	path := filepath.Join(t.TempDir(), "values.yaml")
	values := append(readFile(t, defaultValues), strings.Join(block, "")...)
	if err := os.WriteFile(path, values, 0o600); err != nil {
		t.Fatal(err)
	}
	environments := render(t, path)
	if len(environments) != 2 {
		t.Errorf("%d environments, want 2", len(environments))
	}
	for _, d := range environments {
		if out, err := check(t, d.config, nil); err != nil {
			t.Errorf("%s: %s", d.name, out)
		}
		group := strings.Replace(d.name, "events-", "", 1)
		if !strings.Contains(d.config, "group: "+group+"\n") {
			t.Errorf("%s: the group is not %s", d.name, group)
		}
	}
}

// Alertmanager's parser accepts the inhibition rules, and each matcher matches an existing alert.
func TestRunbookInhibitionsAreValid(t *testing.T) {
	block := submatches(regexp.MustCompile("(?s)```yaml\n(inhibit_rules:.*?)```"), string(readFile(t, runbookFile)))
	var config struct {
		Rules []struct {
			Source []string `json:"source_matchers"`
			Target []string `json:"target_matchers"`
			Equal  []string `json:"equal"`
		} `json:"inhibit_rules"`
	}
	if err := yaml.UnmarshalStrict([]byte(strings.Join(block, "")), &config); err != nil || len(config.Rules) == 0 {
		t.Fatalf("%d rules, %v", len(config.Rules), err)
	}
	for _, r := range config.Rules {
		for _, text := range slices.Concat(r.Source, r.Target) {
			m, err := labels.ParseMatcher(text)
			if err != nil {
				t.Fatal(err)
			}
			matches := func(a rulefmt.Rule) bool { return m.Matches(a.Alert) }
			if m.Name != "alertname" || !slices.ContainsFunc(alerts(t), matches) {
				t.Errorf("%s matches no alert", text)
			}
		}
		if !slices.Equal(r.Equal, []string{"namespace", "group"}) {
			t.Errorf("equal: %v", r.Equal)
		}
	}
}

// You can run each command without looking up the brokers or the namespace.
func TestRunbookCommandsAreComplete(t *testing.T) {
	runbook := strings.ReplaceAll(string(readFile(t, runbookFile)), "\\\n", "")
	n := 0
	for _, c := range regexp.MustCompile("(?:kafka-[a-z-]+\\.sh|kubectl) [^`\n|]+").FindAllString(runbook, -1) {
		n++
		where := "kubectl -n data "
		if strings.HasPrefix(c, "kafka-") {
			where = " --bootstrap-server $KAFKA "
		}
		if !strings.Contains(c, where) {
			t.Errorf("%s: does not contain %q", c, where)
		}
	}
	if n < 15 {
		t.Errorf("only %d commands found", n)
	}
}

// The commands in the runbook are for the release that the checks render.
func TestRunbookUsesTheDeploymentNameOfTheChart(t *testing.T) {
	name := render(t, defaultValues)[0].name
	object := regexp.MustCompile("(?:deployment|scaledobject)/([^\\s`]+)")
	for _, named := range submatches(object, string(readFile(t, runbookFile))) {
		if named != name {
			t.Errorf("deployment %s, want %s", named, name)
		}
	}
}

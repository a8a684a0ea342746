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

// checkJob checks that the chart renders an example of a Job, and that the program knows its flags.
// It returns the Job's command.
func checkJob(t *testing.T, b block) string {
	t.Helper()
	args := render(t, withDefaults(t, b))[0].args
	if out, err := command(t, nil, append(args, "--help")...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", b.where, args, out)
	}
	return args[0]
}

// withDefaults writes the minimal values and those of the block to a file, and returns its path.
func withDefaults(t *testing.T, b block) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, append(readFile(t, defaultValues), b.text...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkEnvironments checks that the chart renders the example of environments, and that the program
// accepts the configurations.
func checkEnvironments(t *testing.T, b block) {
	t.Helper()
	environments := render(t, withDefaults(t, b))
	if len(environments) != 2 {
		t.Errorf("%s: %d environments, want 2", b.where, len(environments))
	}
	for _, d := range environments {
		if out, err := check(t, d.config, nil); err != nil {
			t.Errorf("%s: %s: %s", b.where, d.name, out)
		}
		group := strings.Replace(d.name, "events-", "", 1)
		if !strings.Contains(d.config, "group: "+group+"\n") {
			t.Errorf("%s: %s: the group is not %s", b.where, d.name, group)
		}
	}
}

// checkInhibitions checks that Alertmanager's parser accepts the inhibition rules, and that each
// matcher matches an existing alert.
func checkInhibitions(t *testing.T, b block) {
	t.Helper()
	var config struct {
		Rules []struct {
			Source []string `json:"source_matchers"`
			Target []string `json:"target_matchers"`
			Equal  []string `json:"equal"`
		} `json:"inhibit_rules"`
	}
	if err := yaml.UnmarshalStrict([]byte(b.text), &config); err != nil || len(config.Rules) == 0 {
		t.Errorf("%s: %d rules, %v", b.where, len(config.Rules), err)
	}
	for _, r := range config.Rules {
		for _, text := range slices.Concat(r.Source, r.Target) {
			m, err := labels.ParseMatcher(text)
			if err != nil {
				t.Errorf("%s: %v", b.where, err)
				continue
			}
			matches := func(a rulefmt.Rule) bool { return m.Matches(a.Alert) }
			if m.Name != "alertname" || !slices.ContainsFunc(alerts(t), matches) {
				t.Errorf("%s: %s matches no alert", b.where, text)
			}
		}
		if !slices.Equal(r.Equal, []string{"namespace", "group"}) {
			t.Errorf("%s: equal: %v", b.where, r.Equal)
		}
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

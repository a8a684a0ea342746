package checks

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The archives are built with the Go version in go.mod, and the image with that in the Dockerfile.
func TestArchivesAndImageAreBuiltWithOneVersionOfGo(t *testing.T) {
	toolchain := regexp.MustCompile(`(?m)^toolchain go(.*)$`)
	inModule := submatches(toolchain, string(readFile(t, repository+"/go.mod")))
	inImage := submatches(regexp.MustCompile(`golang:([\d.]+)-`), string(readFile(t, deploy+"/Dockerfile")))
	if len(inModule) != 1 || len(inImage) != 1 || inModule[0] != inImage[0] {
		t.Errorf("go.mod has the toolchains %q, the Dockerfile %q", inModule, inImage)
	}
	for _, path := range workflows(t) {
		text := string(readFile(t, path))
		if n := strings.Count(text, "actions/setup-go@"); n != strings.Count(text, "go-version-file: go.mod") {
			t.Errorf("%s does not take each version of Go from go.mod", path)
		}
	}
}

// workflows returns the paths of all workflows.
func workflows(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(repository + "/.github/workflows/*.yml")
	if err != nil || len(paths) < 3 {
		t.Fatalf("%d workflows: %v", len(paths), err)
	}
	return paths
}

func TestBaseImagesArePinned(t *testing.T) {
	images := submatches(regexp.MustCompile(`(?m)^FROM .*?(\S+:\S+)`), string(readFile(t, deploy+"/Dockerfile")))
	if len(images) != 2 {
		t.Fatalf("%d base images, want 2: %q", len(images), images)
	}
	for _, image := range images {
		if !pinned.MatchString(image) {
			t.Errorf("image %s is not pinned to a digest", image)
		}
	}
}

func TestActionsArePinned(t *testing.T) {
	commit := regexp.MustCompile(`@[0-9a-f]{40}$`)
	for _, path := range workflows(t) {
		for _, action := range submatches(regexp.MustCompile(`uses: (\S+)`), string(readFile(t, path))) {
			if !strings.HasPrefix(action, "./") && !commit.MatchString(action) {
				t.Errorf("%s: action %s is not pinned to a commit", path, action)
			}
		}
	}
}

// pinned matches an image with a tag and a digest.
var pinned = regexp.MustCompile(`:[^:@]+@sha256:[0-9a-f]{64}$`)

func TestNoticesContainTheLicenseOfEachLinkedModule(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), deploy+"/notices.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	notices := string(out)
	want := []string{"Go " + info.GoVersion}
	for _, module := range info.Deps {
		want = append(want, module.Path+" "+module.Version)
	}
	if len(want) < 20 {
		t.Fatalf("only %d linked modules", len(want)-1)
	}
	for _, module := range want {
		_, text, _ := strings.Cut(notices, "\n"+module+", ")
		text, _, _ = strings.Cut(text, "\n=====")
		_, license, _ := strings.Cut(text, "\n\n")
		if len(license) < 500 {
			t.Errorf("no license of %s", module)
		}
	}
}

// copyFiles copies files of the repository, with their paths, to a new directory.
func copyFiles(t *testing.T, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), readFile(t, repository+"/"+path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a command in a directory.
func run(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestReleaseNeverRunsATagName(t *testing.T) {
	dir := copyFiles(t, "Makefile", ".ci/release")
	for path, text := range map[string]string{
		"deploy/notices.sh": "#!/bin/sh\n",
		"bin/goreleaser":    "#!/bin/sh\necho \"version <$VERSION>\"\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const tag = "v1;>ran;`>ran`"
	for _, args := range [][]string{
		{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "a"},
		{"tag", tag},
	} {
		if out, err := run(t, dir, nil, "git", args...); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	for _, env := range [][]string{nil, {"VERSION=" + tag}} { // without VERSION, the version is git describe
		out, err := run(t, dir, env, "make", "release", "GO=true")
		if err == nil || !strings.Contains(out, "must contain only") {
			t.Errorf("%s: %v: %s", env, err, out)
		}
		if _, err := os.Stat(dir + "/ran"); err == nil {
			t.Fatalf("%s: the command in the tag's name ran", env)
		}
	}
	out, err := run(t, dir, []string{"VERSION=v1.2.3-4-gabcdef0-dirty"}, "make", "release", "GO=true")
	if err != nil || !strings.Contains(out, "version <v1.2.3-4-gabcdef0-dirty>") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestReleaseNeedsOneVersionInTagChartAndChangelog(t *testing.T) {
	const chart, changelog = "deploy/helm/segment-to-launchdarkly/Chart.yaml", "CHANGELOG.md"
	dir := copyFiles(t, ".ci/check-version", chart)
	good := map[string]string{
		chart:     "apiVersion: v2\nversion: 1.2.3\nappVersion: 1.2.3\nkubeVersion: \">=1.27.0-0\"\n",
		changelog: "# Changelog\n\n## v1.2.3\n\n- New.\n\n## v1.2.2\n",
	}
	for _, c := range []struct{ tag, file, old, edited, want string }{
		{tag: "v1.2.3"},
		{tag: "1.2.3", want: "must have the form"},
		{tag: "v1.2", want: "must have the form"},
		{tag: "v1.2.3-rc1", want: "must have the form"},
		{tag: "v1.2.03", want: "must have the form"},
		{tag: "v1.2.3\nv1.2.4", want: "must have the form"},
		{tag: "v1.2.4", want: `version in Chart.yaml is "1.2.3"`},
		{"v1.2.3", chart, "\nversion: 1.2.3", "\nversion: 1.2.2", `version in Chart.yaml is "1.2.2"`},
		{"v1.2.3", chart, "appVersion: 1.2.3", "appVersion: 1.2.2", `appVersion in Chart.yaml is "1.2.2"`},
		{"v1.2.3", changelog, "## v1.2.3", "## Unreleased", `CHANGELOG.md is "Unreleased"`},
		{"v1.2.3", changelog, "## v1.2.3", "## v1.2.4\n\n## v1.2.3", `CHANGELOG.md is "v1.2.4"`},
	} {
		for path, text := range good {
			if path == c.file {
				text = strings.Replace(text, c.old, c.edited, 1)
			}
			if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out, err := run(t, dir, nil, ".ci/check-version", c.tag)
		if (err == nil) != (c.want == "") || !strings.Contains(out, c.want) {
			t.Errorf("tag %q, edit %q: %v: %s, want %q", c.tag, c.edited, err, out, c.want)
		}
	}
}

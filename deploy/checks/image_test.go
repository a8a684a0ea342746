package checks

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// With equal flags and the same Go version, the program in the image equals the one in the archive
// byte for byte, because both builds are reproducible (make release-check).
func TestImageAndArchiveAreBuiltWithTheSameFlags(t *testing.T) {
	var archive struct {
		Builds []struct {
			Main                string
			Env, Flags, Ldflags []string
		}
	}
	if err := yaml.Unmarshal(readFile(t, repository+"/.goreleaser.yaml"), &archive); err != nil {
		t.Fatal(err)
	}
	dockerfile := strings.ReplaceAll(string(readFile(t, repository+"/deploy/Dockerfile")), "\\\n", " ")
	command := regexp.MustCompile(`(?m)^RUN .*? (CGO_ENABLED=\S+ .*)go build (.*) -ldflags "([^"]*)" (.*)$`).
		FindStringSubmatch(dockerfile)
	if command == nil {
		t.Fatal("no build command in the Dockerfile")
	}
	env, flags, output := strings.Fields(command[1]), strings.Fields(command[2]), strings.Fields(command[4])
	ldflags := strings.ReplaceAll(command[3], "${VERSION}", "{{ .Env.VERSION }}")
	for _, b := range archive.Builds {
		if !slices.Equal(b.Flags, flags) {
			t.Errorf("flags %q, and %q in the Dockerfile", b.Flags, flags)
		}
		if !slices.Equal(b.Ldflags, []string{ldflags}) {
			t.Errorf("linker flags %q, and %q in the Dockerfile", b.Ldflags, ldflags)
		}
		if !slices.Contains(b.Env, "CGO_ENABLED=0") || !slices.Contains(env, "CGO_ENABLED=0") {
			t.Errorf("environment %q, and %q in the Dockerfile; want CGO_ENABLED=0", b.Env, env)
		}
		if !slices.Contains(output, b.Main) {
			t.Errorf("package %s, and %q in the Dockerfile", b.Main, output)
		}
	}
	if len(archive.Builds) == 0 {
		t.Error("no archive")
	}
}

// README.md says where to get the image.
func TestReadmeChartAndReleaseNameTheSameImage(t *testing.T) {
	var values struct{ Image struct{ Repository string } }
	if err := yaml.Unmarshal(readFile(t, chartDir+"/values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"/README.md", "/.github/workflows/release.yml"} {
		if !strings.Contains(string(readFile(t, repository+file)), values.Image.Repository) {
			t.Errorf("%s does not name the image %s", file, values.Image.Repository)
		}
	}
}

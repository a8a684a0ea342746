// Release builds what a release offers for download: for each system an archive with the static program, and its bill
// of materials; and the checksums of all. What it writes is a function of the commit, the version and Go's version:
// two builds are equal to the byte, wherever they are made.
//
//	go run ./cmd/internal/release -version v1.2.3 -targets linux/amd64,darwin/arm64 -out dist
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	program = "segment-to-launchdarkly"
	module  = "github.com/segment-to-launchdarkly/forwarder"
)

// besides lies in each archive beside the program.
var besides = []string{"CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"}

func main() {
	version := flag.String("version", "", "the release's version, as v1.2.3")
	targets := flag.String("targets", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "systems and architectures")
	out := flag.String("out", "dist", "the directory to write to; what it holds is removed first")
	flag.Parse()
	log.SetFlags(0)
	if *version == "" {
		log.Fatal("-version is missing")
	}
	if err := release(*version, strings.Split(*targets, ","), *out); err != nil {
		log.Fatal(err)
	}
}

func release(version string, targets []string, out string) error {
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var sums []byte
	publish := func(name string, content []byte) error {
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(content), name)
		return os.WriteFile(filepath.Join(out, name), content, 0o644)
	}
	for _, target := range targets {
		system, architecture, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("target %q: must be written as linux/amd64", target)
		}
		binary, info, err := build(version, system, architecture)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		files := []file{{program, 0o755, binary}}
		for _, name := range besides {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			files = append(files, file{name, 0o644, content})
		}
		name := fmt.Sprintf("%s_%s_%s_%s", program, version, system, architecture)
		archived, err := archive(name, committed(info), files)
		if err != nil {
			return err
		}
		bill, err := billOfMaterials(version, binary, info)
		if err != nil {
			return err
		}
		if err := publish(name+".tar.gz", archived); err != nil {
			return err
		}
		if err := publish(name+".cdx.json", bill); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), sums, 0o644)
}

// build returns the program for a system, and what Go wrote into it about itself.
func build(version, system, architecture string) ([]byte, *buildinfo.BuildInfo, error) {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, program)
	// Static, without paths of this machine, with the commit. This machine's GOFLAGS and the like do not count.
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=auto",
		"-ldflags", "-s -w -X "+module+"/cmd/internal/app.version="+version, "-o", path, "./cmd/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0",
		"GOOS="+system, "GOARCH="+architecture)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, nil, err
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := buildinfo.ReadFile(path)
	return binary, info, err
}

// committed is when the commit was made that was built; the zero time outside a checkout.
func committed(info *buildinfo.BuildInfo) time.Time {
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value)
			return t
		}
	}
	return time.Time{}
}

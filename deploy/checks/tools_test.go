package checks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// prometheusPath installs Prometheus once per version and returns the path of the binary. It uses
// the version of the parser in go.mod, and the dependencies in Prometheus's own go.mod. It omits
// service discovery, which is most of the code.
var prometheusPath = sync.OnceValues(func() (string, error) {
	const module = "github.com/prometheus/prometheus"
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", module, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	at := strings.TrimSpace(string(version))
	dir := filepath.Join(cache, "segment-to-launchdarkly", "prometheus-"+at)
	path := filepath.Join(dir, "prometheus")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	install := exec.Command("go", "install", "-tags", "remove_all_sd", module+"/cmd/prometheus@"+at)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Prometheus %s: %w\n%s", at, err, out)
	}
	return path, nil
})

// helmPath builds helm once and returns the path of the binary.
var helmPath = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "helm")
	if out, err := exec.Command("go", "build", "-o", path, "helm.sh/helm/v3/cmd/helm").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build helm: %w\n%s", err, out)
	}
	return path, nil
})

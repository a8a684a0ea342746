package checks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tools builds prometheus and promtool, once for each version, and returns their directory. The version is that of the
// parser in go.mod; the dependencies are those of Prometheus' own go.mod. Service discovery, most of the code, is left out.
var tools = sync.OnceValues(func() (string, error) {
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
	install := exec.Command("go", "install", "-tags", "remove_all_sd", module+"/cmd/prometheus@"+at, module+"/cmd/promtool@"+at)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	for _, tool := range []string{"prometheus", "promtool"} {
		if _, err := os.Stat(filepath.Join(dir, tool)); err != nil {
			if out, err := install.CombinedOutput(); err != nil {
				return "", fmt.Errorf("build prometheus and promtool %s: %w\n%s", at, err, out)
			}
		}
	}
	return dir, nil
})

// promtool runs it and returns what it says.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	dir, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "promtool"), args...).CombinedOutput()
	return string(out), err
}

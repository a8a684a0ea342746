package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// This test follows the section "Run it" of README.md, from the source code to the first events in
// LaunchDarkly. The environment overrides only the addresses of LaunchDarkly and the admin server.
func TestReadmeLeadsToTheFirstEvent(t *testing.T) {
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("takes several seconds of CPU: set KAFKA_TEST=1")
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ld := ldtest.New(ldtest.Config{Retain: true})
	server := httptest.NewServer(ld)
	defer server.Close()
	values := strings.NewReplacer("localhost:9092", broker.ListenAddrs()[0],
		"0123456789abcdef01234567", ldtest.Sample.ClientSideID)
	dir, bin := t.TempDir(), t.TempDir()
	environ := append(os.Environ(), "GOBIN="+bin, "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false"+raceFlag(),
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"S2LD_LAUNCHDARKLY_EVENTS_URL="+server.URL, "S2LD_ADMIN_LISTEN=127.0.0.1:0")

	want := map[string]string{ // part of the output of each command
		"go install ./cmd/segment-to-launchdarkly":                                    "",
		"segment-to-launchdarkly config example > config.yaml":                        "",
		"segment-to-launchdarkly check --config config.yaml":                          "segment: exists (partitions: 2)",
		"segment-to-launchdarkly preview --config config.yaml":                        `"key": "Signed Up"`,
		"segment-to-launchdarkly run --config config.yaml":                            "",
		`segment-to-launchdarkly check --config config.yaml --send "Order Completed"`: "202 Accepted",
	}
	var service *exec.Cmd
	var log bytes.Buffer // standard error of service
	produce(t, broker, "Signed Up")
	start := time.Now()
	for _, block := range readmeBlocks(t, "Run it") {
		if keys, ok := strings.CutPrefix(block, "yaml\n"); ok {
			setKeys(t, filepath.Join(dir, "config.yaml"), values.Replace(keys))
			continue
		}
		for line := range strings.Lines(strings.TrimSpace(block)) {
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			output, ok := want[line]
			if !ok {
				t.Fatalf("unknown command in README.md: %s", line)
			}
			delete(want, line)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec "+line)
			cmd.Dir, cmd.Env = dir, environ
			if strings.HasPrefix(line, "go ") {
				cmd.Dir = "../.."
			}
			if strings.HasPrefix(line, name+" run ") {
				service, cmd.Stderr = cmd, &log
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				produce(t, broker, "Plan Upgraded")
				waitForKeys(t, ld, "Signed Up", "Plan Upgraded")
				t.Logf("from go install to the first events in LaunchDarkly: %v", time.Since(start).Round(time.Millisecond))
				continue
			}
			if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte(output)) {
				t.Fatalf("%s: %v, want %q in\n%s", line, err, output, out)
			}
		}
	}
	if len(want) > 0 {
		t.Fatalf("commands missing in README.md: %q", want)
	}
	waitForKeys(t, ld, "Order Completed", "Plan Upgraded", "Signed Up")
	if err := service.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := service.Wait(); err != nil || !strings.Contains(log.String(), `"msg":"stopping"`) {
		t.Errorf("%v\n%s", err, log.String())
	}
}

// readmeBlocks returns the code blocks in a section of README.md, without the lines of backquotes.
// A block's first line is the block's language, which may be empty.
func readmeBlocks(t *testing.T, section string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for i, block := range strings.Split(rest, "\n```") {
		if i%2 == 1 {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// setKeys edits a configuration file so that the keys in block have the values in block. The file
// must contain each key exactly once.
func setKeys(t *testing.T, path, block string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^  (\w+): .*$`).FindAllStringSubmatch(block, -1) {
		line := regexp.MustCompile(`(?m)^  ` + match[1] + `: .*$`)
		if n := len(line.FindAll(text, -1)); n != 1 {
			t.Fatalf("config.yaml contains %s %d times", match[1], n)
		}
		text = line.ReplaceAllLiteral(text, []byte(match[0]))
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// produce adds a Segment call to the topic.
func produce(t *testing.T, broker *kfake.Cluster, event string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.DefaultProduceTopic("segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	call := `{"type":"track","event":"` + event + `","userId":"u","timestamp":"2020-06-19T17:39:30.692Z"}`
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord(call)).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// waitForKeys waits until ld has received exactly the events with these keys.
func waitForKeys(t *testing.T, ld *ldtest.Server, keys ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := ld.Wait(ctx, len(keys)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, event := range ld.Events() {
		_, key, _ := strings.Cut(string(event), `"key":"`)
		key, _, _ = strings.Cut(key, `"`)
		got = append(got, key)
	}
	slices.Sort(keys)
	slices.Sort(got)
	if !slices.Equal(got, keys) {
		t.Fatalf("events %q, want %q", got, keys)
	}
}

// raceFlag returns the flag with which this test was built, if any. The program's packages are
// then already compiled.
func raceFlag() string {
	race := debug.BuildSetting{Key: "-race", Value: "true"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, race) {
		return " -race"
	}
	return ""
}

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// beProgram is the variable that makes this test binary run as the program.
const beProgram = "TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program returns a command that runs the program as a separate process. environ is its
// environment.
func program(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append([]string{beProgram + "=1"}, environ...)
	return cmd
}

// run runs a command line in this process.
func run(sys system, args ...string) (stdout, stderr string, code int) {
	var out, errOut bytes.Buffer
	sys.stdout, sys.stderr = &out, &errOut
	if sys.stdin == nil {
		sys.stdin = strings.NewReader("")
	}
	code = execute(args, sys)
	return out.String(), errOut.String(), code
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInvalidCommandLinesAndConfigurationsExitWith2(t *testing.T) {
	broken := writeFile(t, "broken.yaml", "kafka: [")
	unknown := writeFile(t, "unknown.yaml", "kafka: {topic: x}\n")
	for _, c := range []struct {
		args string
		want string // part of the error
	}{
		{"rnu", `unknown command "rnu"`},
		{"run extra", `unknown command "extra"`},
		{"config exmaple", `unknown command "exmaple"`},
		{"transform --confg x", "unknown flag: --confg"},
		{"transform --timestamp yesterday", "--timestamp: must be a time such as 2026-01-31T00:00:00Z, got yesterday"},
		{"transform --config " + broken, "broken.yaml: line 1"},
		{"transform --config " + unknown, "did you mean kafka.topics?"},
		{"metrics --restart forwarder", "--restart: requires --configmap"},
		{"config --config /nowhere/config.yaml", "/nowhere/config.yaml: no such file"},
		{"run", "kafka.brokers: must be set"},
		{"run --config " + unknown, "launchdarkly.client_side_id: must be set"},
	} {
		stdout, stderr, code := run(system{}, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, output %q, error %q; want %q", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestHelpHasExamplesAndFitsIn100Columns(t *testing.T) {
	root := newRoot(system{})
	for _, cmd := range append(root.Commands(), root) {
		out, _, code := run(system{}, append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
		if code != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, cmd.Example) {
			t.Errorf("%s: exit %d, help %q", cmd.CommandPath(), code, out)
		}
		for line := range strings.Lines(out) {
			if len(line) > 101 && !strings.HasPrefix(strings.TrimSpace(line), "-") {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), len(line), line)
			}
		}
	}
}

func TestConfigPrintsOriginsAndRedactsSecrets(t *testing.T) {
	path := writeFile(t, "config.yaml", "kafka:\n"+
		"  brokers: [k:9092]\n"+
		"  topics: [segment]\n"+
		"  sasl: {mechanism: plain, username: u}\n")
	sys := system{environ: []string{"S2LD_KAFKA_SASL_PASSWORD=hunter2", "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc"}}
	out, _, code := run(sys, "config", "-c", path)
	for _, want := range []string{
		"brokers: ['k:9092']  # " + path + ":2\n", "client_side_id: abc  # S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID\n",
		"mechanism: PLAIN  # " + path + ":4\n", "password: \"[redacted]\"  # S2LD_KAFKA_SASL_PASSWORD\n",
		"gzip: true  # default\n",
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	if strings.Contains(out, "hunter2") {
		t.Error("a secret is printed")
	}
}

func TestExampleLacksOnlyTheClientSideID(t *testing.T) {
	example, _, code := run(system{}, "config", "example")
	if code != 0 {
		t.Fatalf("exit %d", code)
	}
	path := writeFile(t, "config.yaml", example)
	out, _, code := run(system{}, "check", "--offline", "--config", path)
	if code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "client_side_id") {
		t.Errorf("exit %d: %s", code, out)
	}
	sys := system{environ: []string{"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=abc"}}
	out, _, code = run(sys, "check", "--offline", "--config", path)
	if code != 0 || out != "ok    configuration: valid\n" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestSchemaAndCompletionsArePrinted(t *testing.T) {
	if out, _, code := run(system{}, "config", "schema"); code != 0 || !strings.Contains(out, `"$schema"`) {
		t.Errorf("exit %d: %.100s", code, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _, code := run(system{}, "completion", shell); code != 0 || !strings.Contains(out, name) {
			t.Errorf("%s: exit %d: %.100s", shell, code, out)
		}
	}
}

func TestVersionPrintsGoAndModules(t *testing.T) {
	out, err := program(t, nil, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{name + " ", "\ncommit ", "\ngo1.", "\ngithub.com/twmb/franz-go v1."} {
		if !strings.Contains("\n"+string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

package checks

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"sigs.k8s.io/yaml"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// guides are the documents whose blocks and commands are for readers to run.
var guides = []string{"README.md", "deploy/README.md"}

// elsewhere lists the commands that cannot run in a test of a document, each with the part of CI
// that runs it, or with the test of what the command does.
var elsewhere = map[string]string{
	"go run ./cmd/demo":         "ci-test",
	"go run ./cmd/demo -tour":   "TestTourDescribesTheOutageTheCrashAndTheRecovery",
	"go test ./...":             "ci-test",
	"docker compose up --build": "TestComposeConfigurationIsValid",
	"docker build -f deploy/Dockerfile -t REGISTRY/forwarder:v0.1.0 .": "lint-dockerfile",
	"make test":         "ci-test",
	"make lint":         "ci-lint",
	"make model":        "ci-test",
	"make explore":      "ci-test",
	"make bench":        "TestMeasuresAndLosesNothing",
	"make kafka":        "ci-kafka",
	"make test-kafka":   "ci-kafka",
	"make oldest-kafka": "ci-kafka",
	"make fuzz":         "ci-test",
	"make soak":         "TestInvariantsHoldOnApacheKafka",
	"make test-strace":  "ci-test",
	"make test-browser": "ci-browser",
	"make test-deploy":  "ci-deploy",
	"make ci-lint":      "ci-lint",
	".ci/run":           "ci",

	".ci/check-version v1.2.3": "TestReleaseNeedsOneVersionInTagChartAndChangelog",
}

// outputs contains a part of the output of some commands. All other commands must exit with 0.
var outputs = map[string]string{
	"segment-to-launchdarkly check --config config.yaml":                          "segment: exists (partitions: 2)",
	"segment-to-launchdarkly preview --config config.yaml":                        `"key": "Signed Up"`,
	`segment-to-launchdarkly check --config config.yaml --send "Order Completed"`: "202 Accepted",
	"segment-to-launchdarkly metrics --config config.yaml --output events.txt":    "",
}

// fails contains a part of the output of commands that must exit with 1. verify compares only
// complete hours of the last 7 days, and a document cannot contain them.
var fails = map[string]string{
	"segment-to-launchdarkly verify --config config.yaml --replica": "no hour is complete",
}

// site is a directory in which the commands of the documents run, and their environment.
type site struct {
	*world
	dir string
	env []string
}

func newSite(t *testing.T) *site {
	w := newWorld(t, 2)
	w.ld = ldtest.New(ldtest.Config{Retain: true, API: &ldtest.API{Metrics: map[string][]ldtest.Metric{
		ldtest.Sample.Project: {{Key: "signups", EventKey: "Signed Up"}},
	}}})
	s := &site{world: w, dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name := range fakes {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root+"/deploy", s.dir+"/deploy"); err != nil {
		t.Fatal(err)
	}
	helm, err := helmPath()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"password.txt": "secret", "ca.crt": "certificate", "events.txt": "Signed Up\n",
		"values.yaml": string(readFile(t, chartDir+"/examples/production.yaml")),
	} {
		s.write(t, name, content)
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	s.env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "S2LD_") })
	s.env = append(append(s.env, w.env()...),
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "GOBIN="+scratch, "CHECKS_REPOSITORY="+root,
		"CHECKS_GO="+tool, "CHECKS_HELM="+helm, "CHECKS_PROGRAM="+scratch+"/segment-to-launchdarkly",
		"KAFKA="+w.kafka.ListenAddrs()[0], "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false",
		"S2LD_ADMIN_LISTEN=127.0.0.1:0", "S2LD_LAUNCHDARKLY_API_URL="+w.url, "S2LD_LAUNCHDARKLY_API_TOKEN="+ldtest.APIToken,
		"S2LD_LAUNCHDARKLY_PROJECT_KEY="+ldtest.Sample.Project, "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY="+ldtest.Sample.Key)
	return s
}

func (s *site) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sh runs a command in the site and returns its output.
func (s *site) sh(t *testing.T, command string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", command)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Every code block of README.md and of the runbook works as written, in the order of the documents.
// The environment overrides only the addresses and keys of Kafka and LaunchDarkly.
func TestBlocksWorkAsWritten(t *testing.T) {
	s := newSite(t)
	old := time.Date(2026, 1, 31, 8, 30, 0, 0, time.UTC) // in the periods that the documents replay
	for _, call := range []string{s.track("Signed Up"),
		`{"type":"track","event":"Lost","timestamp":1592588370692,"context":{"traits":{"email":"a@example.com"}}}`} {
		r := &kgo.Record{Topic: topic, Value: []byte(call), Timestamp: old}
		if err := s.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"segment.dead.2", "segment.corrected"} {
		if out, err := s.sh(t, "kafka-topics.sh --bootstrap-server $KAFKA --create --topic "+name); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	replica := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"group": "segment-to-launchdarkly", "since": "2026-01-01T00:00:00Z"}`))
	}))
	defer replica.Close()
	for _, path := range guides {
		for _, b := range blocks(t, path) {
			switch {
			case b.language == "text" && strings.Contains(b.text, "─►"): // a diagram
			case b.language == "":
				s.runBlock(t, b, strings.NewReplacer("--replica localhost:9464", "--replica "+replica.URL))
			case b.language == "json":
				s.checkMapping(t, b)
			case b.language == "yaml":
				s.checkYAML(t, b)
			default:
				t.Errorf("%s: no check for a block of language %q; add one to TestBlocksWorkAsWritten", b.where, b.language)
			}
		}
	}
	// The run, --send, the replay, and the corrected dead letter deliver one event each.
	var keys []string
	for _, e := range s.ld.Events() {
		keys = append(keys, submatches(regexp.MustCompile(`"key":"(.*?)"`), string(e))...)
	}
	slices.Sort(keys)
	if want := []string{"Lost", "Order Completed", "Signed Up", "Signed Up"}; !slices.Equal(keys, want) {
		t.Errorf("LaunchDarkly has received %q, want %q", keys, want)
	}
}

// The commands within the text work too. The program runs them with --help, and placeholders such as
// POD stay as they are.
func TestCommandsInTheTextWork(t *testing.T) {
	s := newSite(t)
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range guides {
		for _, span := range spans(t, path) {
			name, arguments, _ := strings.Cut(span.text, " ")
			if by, ok := elsewhere[span.text]; ok {
				checkElsewhere(t, span.where, span.text, by)
				continue
			}
			if fakes[name] == nil || name == "go" || arguments == "" {
				continue
			}
			n++
			command := span.text
			if name == "segment-to-launchdarkly" {
				command += " --help"
			}
			if out, err := s.sh(t, command); err != nil {
				t.Errorf("%s: %s\n%v\n%s", span.where, span.text, err, out)
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d commands found", n)
	}
}

// runBlock runs the commands of a block.
func (s *site) runBlock(t *testing.T, b block, addresses *strings.Replacer) {
	t.Helper()
	exported := ""
	for _, command := range b.commands(t) {
		plain, _, _ := strings.Cut(command, " #")
		plain = strings.TrimSpace(plain)
		if by, ok := elsewhere[plain]; ok {
			checkElsewhere(t, b.where, plain, by)
			continue
		}
		if name, _, _ := strings.Cut(plain, " "); name == "make" || name == "docker" || strings.HasPrefix(plain, "go test") {
			t.Errorf("%s: add the part of CI that runs %q to the variable elsewhere", b.where, plain)
			continue
		}
		start := time.Now()
		out, err := s.sh(t, exported+addresses.Replace(command))
		t.Logf("%s: %v %.80q", b.where, time.Since(start).Round(time.Millisecond), command)
		if strings.HasPrefix(command, "export ") {
			exported += command + "\n"
		}
		expected := ""
		for prefix, message := range fails {
			if strings.HasPrefix(plain, prefix) {
				expected = message
			}
		}
		switch {
		case expected != "" && (err == nil || !strings.Contains(out, expected)):
			t.Errorf("%s: %s\n%v, want an error with %q\n%s", b.where, command, err, expected, out)
		case expected == "" && (err != nil || !strings.Contains(out, outputs[plain])):
			t.Errorf("%s: %s\n%v, want an output with %q\n%s", b.where, command, err, outputs[plain], out)
		}
	}
}

// checkElsewhere checks that a part of CI runs a command, or that the named test exists.
func checkElsewhere(t *testing.T, where, command, by string) {
	t.Helper()
	if strings.HasPrefix(by, "Test") {
		if !testExists(t, by) {
			t.Errorf("%s: %q refers to %s, which does not exist; change the variable elsewhere", where, command, by)
		}
		return
	}
	name, isPart := strings.CutPrefix(by, "ci-")
	parts := submatches(regexp.MustCompile(`set -- ([a-z ]+)\n`), string(readFile(t, repository+"/.ci/run")))[0]
	if isPart && !slices.Contains(strings.Fields(parts), name) {
		t.Errorf("%s: .ci/run does not run %s", where, by)
	}
	if by != "lint-dockerfile" && !strings.Contains(part(t, by), command) {
		t.Errorf("%s: make %s does not run %q; change the Makefile or the variable elsewhere", where, by, command)
	}
}

// testExists reports whether the repository has a test with this name.
func testExists(t *testing.T, name string) bool {
	t.Helper()
	return exec.CommandContext(t.Context(), "git", "-C", repository, "grep", "-q", "--untracked",
		"^func "+name+"(", "--", "*_test.go").Run() == nil
}

// checkMapping maps the first line of a block, which must produce the second.
func (s *site) checkMapping(t *testing.T, b block) {
	t.Helper()
	lines := strings.SplitN(b.text, "\n", 2)
	cmd := command(t, nil, "transform")
	cmd.Stdin = strings.NewReader(lines[0])
	out, err := cmd.Output()
	if err != nil || !bytes.Contains(out, []byte(strings.TrimSpace(lines[1]))) {
		t.Errorf("%s: %v, the program writes\n%s", b.where, err, out)
	}
}

// checkYAML loads a block as the program, the chart, or Alertmanager would.
func (s *site) checkYAML(t *testing.T, b block) {
	t.Helper()
	var keys map[string]json.RawMessage
	if err := yaml.Unmarshal([]byte(b.text), &keys); err != nil {
		t.Errorf("%s: %v", b.where, err)
		return
	}
	switch has := func(key string) bool { return keys[key] != nil }; {
	case has("inhibit_rules"):
		checkInhibitions(t, b)
	case has("environments"):
		checkEnvironments(t, b)
	case has("job"):
		s.write(t, checkJob(t, b)+".yaml", b.text)
	default:
		out, err := s.sh(t, "cat >block.yaml <<'EOF'\n"+b.text+"EOF\n"+
			"segment-to-launchdarkly check --offline --config block.yaml")
		if err != nil {
			t.Errorf("%s: the program does not accept these keys: %v\n%s", b.where, err, out)
		}
		if has("kafka") {
			setKeys(t, filepath.Join(s.dir, "config.yaml"), b)
		}
	}
}

// setKeys edits a configuration file so that the keys in the block have the values in the block.
// The file must contain each key exactly once.
func setKeys(t *testing.T, path string, b block) {
	t.Helper()
	text := readFile(t, path)
	for _, match := range regexp.MustCompile(`(?m)^  (\w+): .*$`).FindAllStringSubmatch(b.text, -1) {
		line := regexp.MustCompile(`(?m)^  ` + match[1] + `: .*$`)
		if n := len(line.FindAll(text, -1)); n != 1 {
			t.Errorf("%s: config.yaml contains %s %d times", b.where, match[1], n)
		}
		text = line.ReplaceAllLiteral(text, []byte(match[0]))
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

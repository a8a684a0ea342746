package checks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The commands in the documents find these programs in the first directory of PATH, as links to the
// test binary. They pass a command on to the real program where that is possible without a cluster,
// and otherwise check its arguments and act on the embedded broker.
var fakes = map[string]func(args []string) error{
	"go":                        inRepository,
	"helm":                      fakeHelm,
	"kubectl":                   fakeKubectl,
	"segment-to-launchdarkly":   program,
	"kafka-acls.sh":             fakeKafka("kafka-acls.sh"),
	"kafka-configs.sh":          fakeKafka("kafka-configs.sh"),
	"kafka-consumer-groups.sh":  fakeKafka("kafka-consumer-groups.sh"),
	"kafka-topics.sh":           fakeKafka("kafka-topics.sh"),
	"kafka-console-consumer.sh": fakeKafka("kafka-console-consumer.sh"),
	"kafka-console-producer.sh": fakeKafka("kafka-console-producer.sh"),
}

// options lists the options that each command has in Kafka 4.4 or kubectl 1.37, as far as the
// documents use them. A value must match the pattern; options without one have no value.
var options = map[string]map[string]string{
	"kafka-acls.sh": {
		"--bootstrap-server": `.+:\d+`, "--add": "", "--allow-principal": `User:\w+`,
		"--operation": `Read|Write|Describe|DescribeConfigs`, "--topic": `[\w.-]+`, "--group": `[\w.-]+`,
		"--resource-pattern-type": `literal|prefixed`,
	},
	"kafka-configs.sh": {
		"--bootstrap-server": `.+:\d+`, "--alter": "", "--entity-type": `topics`, "--entity-name": `[\w.-]+`,
		"--add-config": `retention\.ms=\d+`,
	},
	"kafka-consumer-groups.sh": {
		"--bootstrap-server": `.+:\d+`, "--describe": "", "--state": "", "--group": `[\w.-]+`, "--topic": `[\w.-]+(:\d+)?`,
		"--reset-offsets": "", "--to-offset": `\d+`, "--to-current": "", "--to-latest": "", "--execute": "", "--dry-run": "",
		"--to-datetime": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}`,
	},
	"kafka-topics.sh": {
		"--bootstrap-server": `.+:\d+`, "--create": "", "--topic": `[\w.-]+`, "--partitions": `\d+`,
		"--replication-factor": `\d+`, "--config": `retention\.ms=\d+`,
	},
	"kafka-console-consumer.sh": {
		"--bootstrap-server": `.+:\d+`, "--topic": `[\w.-]+`, "--from-beginning": "", "--timeout-ms": `\d+`,
		"--property": `print\.(headers|value)=(true|false)`, "--partition": `\d+`, "--offset": `\d+`, "--max-messages": `\d+`,
		"--consumer.config": `.+`,
	},
	"kafka-console-producer.sh": {"--bootstrap-server": `.+:\d+`, "--topic": `[\w.-]+`},

	"kubectl annotate": {"-n": `data`},
	"kubectl apply":    {"-n": `data`, "-f": `-`},
	"kubectl create secret generic": {
		"-n": `data`, "--from-file": `[\w.-]+=[\w.-]+`, "--dry-run": `client`, "--output": `yaml`,
	},
	"kubectl exec":     {"-n": `data`},
	"kubectl get pods": {"-n": `data`, "-l": `[\w./]+=\w+`},
	"kubectl logs": {
		"-n": `data`, "-l": `[\w./]+=\w+`, "--prefix": "", "--tail": `\d+`, "--previous": "",
	},
	"kubectl port-forward":    {"-n": `data`},
	"kubectl rollout restart": {"-n": `data`},
	"kubectl scale":           {"-n": `data`, "--replicas": `\d+`},
}

// parse returns the values of a command's options, and its other arguments.
func parse(command string, args []string) (values map[string][]string, rest []string, err error) {
	known, ok := options[command]
	if !ok {
		return nil, nil, fmt.Errorf("%s is not in the variable options", command)
	}
	values = map[string][]string{}
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		pattern, ok := known[name]
		switch {
		case !strings.HasPrefix(name, "-") || name == "--":
			rest = append(rest, args[i])
			continue
		case !ok:
			return nil, nil, fmt.Errorf("%s: unknown option %s; if it exists, add it to the variable options", command, name)
		case pattern != "" && !hasValue:
			if i++; i == len(args) {
				return nil, nil, fmt.Errorf("%s: option %s needs a value", command, name)
			}
			value = args[i]
		}
		if !regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(value) {
			return nil, nil, fmt.Errorf("%s: option %s has the value %q", command, name, value)
		}
		values[name] = append(values[name], value)
	}
	return values, rest, nil
}

// fakeKafka returns a fake of one of Kafka's tools. It creates topics, reads, and writes on the
// broker; the others only check their options.
func fakeKafka(tool string) func([]string) error {
	return func(args []string) error {
		values, rest, err := parse(tool, args)
		if err != nil {
			return err
		}
		needed := map[string][]string{
			"kafka-acls.sh":             {"--add", "--allow-principal", "--operation", "--topic|--group"},
			"kafka-configs.sh":          {"--alter", "--entity-type", "--entity-name", "--add-config"},
			"kafka-consumer-groups.sh":  {"--group", "--describe|--reset-offsets"},
			"kafka-topics.sh":           {"--create", "--topic"},
			"kafka-console-consumer.sh": {"--topic"},
			"kafka-console-producer.sh": {"--topic"},
		}[tool]
		if values["--reset-offsets"] != nil {
			needed = append(needed, "--topic", "--execute|--dry-run", "--to-offset|--to-datetime|--to-current|--to-latest")
		}
		for _, alternatives := range append(needed, "--bootstrap-server") {
			set := func(name string) bool { return values[name] != nil }
			if !slices.ContainsFunc(strings.Split(alternatives, "|"), set) {
				return fmt.Errorf("%s: option %s is missing", tool, alternatives)
			}
		}
		if len(rest) > 0 {
			return fmt.Errorf("%s: unexpected arguments %q", tool, rest)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		client, err := kgo.NewClient(kgo.SeedBrokers(values["--bootstrap-server"]...))
		if err != nil {
			return err
		}
		defer client.Close()
		switch tool {
		case "kafka-topics.sh":
			_, err = kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, values["--topic"][0])
			if errors.Is(err, kerr.TopicAlreadyExists) {
				return nil
			}
			return err
		case "kafka-console-producer.sh":
			text, err := io.ReadAll(os.Stdin)
			for line := range bytes.Lines(text) {
				r := &kgo.Record{Topic: values["--topic"][0], Value: bytes.TrimSuffix(line, []byte("\n"))}
				err = cmp.Or(err, client.ProduceSync(ctx, r).FirstErr())
			}
			return err
		case "kafka-console-consumer.sh":
			return consume(ctx, client, values)
		}
		return nil
	}
}

// consume prints the records of a topic as kafka-console-consumer.sh does.
func consume(ctx context.Context, client *kgo.Client, values map[string][]string) error {
	topic := values["--topic"][0]
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	client.AddConsumeTopics(topic)
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			left--
			var headers, columns []string
			for _, h := range r.Headers {
				headers = append(headers, h.Key+":"+string(h.Value))
			}
			if slices.Contains(values["--property"], "print.headers=true") {
				columns = append(columns, cmp.Or(strings.Join(headers, ","), "NO_HEADERS"))
			}
			if !slices.Contains(values["--property"], "print.value=false") {
				columns = append(columns, string(r.Value))
			}
			fmt.Println(strings.Join(columns, "\t"))
		}
	}
	return nil
}

// fakeKubectl checks the arguments of kubectl, the manifest that it would apply, and the command
// that it would run in a pod.
func fakeKubectl(args []string) error {
	args, remote, _ := cut(args, "--")
	if len(args) < 3 || args[0] != "-n" {
		return fmt.Errorf("kubectl %s: -n data must come first", strings.Join(args, " "))
	}
	command := "kubectl"
	rest := args[2:]
	for len(rest) > 0 && options[command] == nil {
		command += " " + rest[0]
		rest = rest[1:]
	}
	values, objects, err := parse(command, append(slices.Clone(args[:2]), rest...))
	if err != nil {
		return err
	}
	number := map[string]int{ // of the other arguments
		"kubectl annotate": 2, "kubectl create secret generic": 1, "kubectl exec": 1, "kubectl port-forward": 2,
		"kubectl rollout restart": 1, "kubectl scale": 1,
	}[command]
	if command == "kubectl logs" && values["-l"] == nil {
		number = 1
	}
	if len(objects) != number {
		return fmt.Errorf("%s: arguments %q, want %d", command, objects, number)
	}
	switch command {
	case "kubectl create secret generic":
		if values["--output"] != nil {
			fmt.Printf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\n", objects[0])
		}
	case "kubectl apply":
		manifest, err := io.ReadAll(os.Stdin)
		if err != nil || !bytes.Contains(manifest, []byte("kind: Secret")) {
			return fmt.Errorf("kubectl apply: %q, %w", manifest, err)
		}
	case "kubectl exec":
		if remote[0] != "/segment-to-launchdarkly" {
			return fmt.Errorf("the image has no %s", remote[0])
		}
		return runProgram(os.Getenv("CHECKS_PROGRAM"), append(remote[1:], "--help")...)
	}
	return nil
}

// cut splits args around the first separator.
func cut(args []string, separator string) (before, after []string, found bool) {
	if i := slices.Index(args, separator); i >= 0 {
		return args[:i], args[i+1:], true
	}
	return args, nil, false
}

// fakeHelm renders the chart instead of installing it. Otherwise, the real helm checks the
// arguments.
func fakeHelm(args []string) error {
	helm := os.Getenv("CHECKS_HELM")
	command, rest := args[0], args[1:]
	flag := slices.Index(rest, "--install")
	if command == "upgrade" && flag >= 0 {
		command, rest = "install", slices.Delete(slices.Clone(rest), flag, flag+1)
	}
	if command == "install" {
		return runProgram(helm, append([]string{"template", "--kube-version", kubeVersion}, rest...)...)
	}
	return runProgram(helm, append(slices.Clone(args), "--help")...)
}

// inRepository runs go in the repository.
func inRepository(args []string) error {
	if err := os.Chdir(os.Getenv("CHECKS_REPOSITORY")); err != nil {
		return err
	}
	return runProgram(os.Getenv("CHECKS_GO"), args...)
}

// program runs the program. It stops a run without an end after the first delivery, as an operator
// would, and it confirms a replay, because a test has no terminal.
func program(args []string) error {
	path := os.Getenv("CHECKS_PROGRAM")
	if args[0] == "replay" && !slices.Contains(args, "--dry-run") {
		args = append(args, "--yes")
	}
	bounded := func(arg string) bool { return strings.HasPrefix(arg, "--until") || arg == "--help" }
	if args[0] != "run" || slices.ContainsFunc(args, bounded) {
		return runProgram(path, args...)
	}
	cmd := exec.Command(path, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	var log []byte
	for buf := make([]byte, 4096); ; {
		n, err := stderr.Read(buf)
		before := bytes.Contains(log, []byte("first events delivered"))
		log = append(log, buf[:n]...)
		if !before && bytes.Contains(log, []byte("first events delivered")) {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		if err != nil {
			break
		}
	}
	_, _ = os.Stderr.Write(log)
	return cmd.Wait()
}

// runProgram runs a program with the standard streams of this process.
func runProgram(path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// runFake runs the fake that this process was started as, if any, and exits.
func runFake() {
	fake, ok := fakes[filepath.Base(os.Args[0])]
	if !ok {
		return
	}
	if err := fake(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/ldapi"
)

// metricsFlags holds the flags of the metrics command.
type metricsFlags struct {
	used                        bool
	output, configMap, workload string
}

func newMetrics(sys system) *cobra.Command {
	var flags metricsFlags
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "List the event keys of LaunchDarkly's metrics, for segment.events.only_file",
		Long: `Reads the custom metrics of launchdarkly.project_key from LaunchDarkly's REST API, and prints
their event keys, sorted, one per line. If segment.events.only_file is this list, only events
with these keys are delivered. Archived metrics and metrics without an event key are omitted.
If there are no keys, the command fails and prints nothing.

The command needs launchdarkly.project_key and launchdarkly.api_token, and ignores the keys
for Kafka. With --output, the file is replaced only if the command is successful.

With --configmap, the command prints a manifest for "kubectl apply --server-side" instead of
the list. The ConfigMap contains the list as ` + listFile + `. With --restart, the manifest also sets
an annotation with the hash of the list on the pods of a Deployment. When the list changes,
the Deployment therefore replaces its pods, and the new ones read the new list.`,
		Example: `  ` + name + ` metrics --config config.yaml
  ` + name + ` metrics --config config.yaml --used --output events.txt
  ` + name + ` metrics -c config.yaml --configmap metric-events > manifest.json`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&flags.used, "used", false, "list only metrics used in an experiment or a guarded rollout")
	f.StringVarP(&flags.output, "output", "o", "", "write to `FILE` instead of standard output")
	f.StringVar(&flags.configMap, "configmap", "", "print a manifest of the ConfigMap `NAME` instead of the list")
	f.StringVar(&flags.workload, "restart", "", "restart the Deployment `NAME` when the list changes (with --configmap)")
	cmd.RunE = func(*cobra.Command, []string) error {
		if flags.workload != "" && flags.configMap == "" {
			return errors.New("--restart: requires --configmap")
		}
		cfg, err := config.LoadFor(config.REST, *path, sys.environ)
		if err != nil {
			return err
		}
		return runMetrics(sys, cfg, &flags)
	}
	return cmd
}

func runMetrics(sys system, cfg *config.Config, flags *metricsFlags) error {
	client, err := cfg.API(app.Version())
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	metrics, err := client.Metrics(ctx, cfg.LaunchDarkly.ProjectKey, flags.used)
	if err != nil {
		return failure{withAdvice(err)}
	}
	keys, err := eventKeys(metrics)
	if err != nil {
		return failure{err}
	}
	if len(keys) == 0 {
		return failure{fmt.Errorf("LaunchDarkly returned no event keys for project %s. Create a custom metric%s, "+
			"or fix launchdarkly.project_key", cfg.LaunchDarkly.ProjectKey, map[bool]string{true: " and use it"}[flags.used])}
	}
	text := []byte(strings.Join(keys, "\n") + "\n")
	if flags.configMap != "" {
		if text, err = manifest(text, flags.configMap, flags.workload); err != nil {
			return failure{err}
		}
	}
	if flags.output == "" {
		_, err := sys.stdout.Write(text)
		return outputFailure(err)
	}
	if err := replaceFile(flags.output, text); err != nil {
		return failure{err}
	}
	_, err = fmt.Fprintf(sys.stdout, "event keys written to %s: %d\n", flags.output, len(keys))
	return outputFailure(err)
}

// withAdvice adds advice to an error of LaunchDarkly's REST API.
func withAdvice(err error) error {
	if advice := apiAdvice(err); advice != "" {
		return errors.New(strings.TrimRight(err.Error(), ".") + ". " + advice)
	}
	return err
}

// apiAdvice returns advice on an error of LaunchDarkly's REST API, or "".
func apiAdvice(err error) string {
	if e, ok := errors.AsType[*ldapi.Error](err); ok {
		return e.Advice()
	}
	return ""
}

// eventKeys returns the event keys of the metrics that count events sent to LaunchDarkly, sorted and
// without duplicates.
func eventKeys(metrics []ldapi.Metric) (keys []string, err error) {
	for _, m := range metrics {
		switch {
		case m.EventKey == "" || m.Warehouse():
			continue
		case strings.ContainsAny(m.EventKey, "\r\n"), strings.HasPrefix(m.EventKey, "\ufeff"):
			return nil, fmt.Errorf("metric %s: the event key %q cannot be listed, because it contains a line break "+
				"or begins with a byte-order mark", m.Key, m.EventKey)
		}
		keys = append(keys, m.EventKey)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// listFile is the name of the list in the ConfigMap.
const listFile = "events.txt"

// manifest returns a manifest for server-side apply. The manifest contains a ConfigMap with the
// list. If deployment is not empty, it also contains an annotation with the list's hash. The
// objects are not in a List, because kubectl would then require all fields of the Deployment.
func manifest(list []byte, configMap, deployment string) ([]byte, error) {
	type object = map[string]any
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": configMap},
		"data": object{listFile: string(list)},
	})
	if err != nil || deployment == "" {
		return b.Bytes(), err
	}
	pods := object{"annotations": object{name + "/metric-events": fmt.Sprintf("sha256:%x", sha256.Sum256(list))}}
	err = enc.Encode(object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": deployment},
		"spec": object{"template": object{"metadata": pods}},
	})
	return b.Bytes(), err
}

// replaceFile replaces a file atomically.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename
	_, err = f.Write(content)
	err = cmp.Or(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

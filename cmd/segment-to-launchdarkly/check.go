package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// checkTimeout limits each request to Kafka or LaunchDarkly. The requests that read a topic's
// records share one timeout, as do those that check the group.
const checkTimeout = 10 * time.Second

func newCheck(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and access to Kafka and LaunchDarkly",
		Long: `Checks everything that the run command needs, without changing anything, and prints one
line per check:

  ok    the result
  warn  a result that needs a look
  FAIL  the problem and how to fix it
  skip  why the check was not possible

The command validates the configuration, connects to each broker with the configured TLS
and SASL, checks that the topics and the dead-letter topic exist, checks the permissions on
them and on the consumer group, maps the newest 200 records of each topic, and sends a
request to LaunchDarkly. It also prints the requests per second that the whole group is
expected to send. The exit code is 1 if any check fails, including the configuration
check. With AWS_MSK_IAM, the command also obtains AWS credentials and prints their source.

With --send, the command also sends one event, in the format of the run command but without
applying the filters or launchdarkly.data, and prints LaunchDarkly's response. The key of
the event's user, or of each of its contexts, is
` + checkKey + `. Metrics with the same event key count the event, and
count it again each time you use --send. The request is never retried. It is not sent if
another check of LaunchDarkly fails.

With --metrics, the command also gets the custom metrics of launchdarkly.project_key from
LaunchDarkly's REST API, which requires launchdarkly.api_token. It compares each metric with
the events in the newest 10,000 records, and prints one line per metric, or one per problem:
no event with the metric's event key, no numbers for a numeric metric, a context kind that
the events do not contain, a filter that no event can pass, or a data warehouse as source. If
no event has the metric's event key, the result is only a warning, because the event can be
rare.

With --offline, the command validates only the configuration. It makes no connections and
does not open the certificate and secret files, so they can be on another machine.`,
		Example: `  ` + name + ` check --config config.yaml
  ` + name + ` check --config config.yaml --send "Order Completed"
  ` + name + ` check --config config.yaml --metrics
  ` + name + ` check --config config.yaml --offline`,
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	offline := cmd.Flags().Bool("offline", false, "check only the configuration")
	metrics := cmd.Flags().Bool("metrics", false, "compare LaunchDarkly's metrics with the newest records")
	event := cmd.Flags().String("send", "", "send an event named `NAME` to LaunchDarkly")
	cmd.RunE = func(*cobra.Command, []string) error {
		switch {
		case *metrics && *offline:
			return errors.New("--metrics: must not be set together with --offline, which makes no connections")
		case !cmd.Flags().Changed("send"):
		case *event == "":
			return errors.New("--send: must be the name of an event")
		case *offline:
			return errors.New("--send: must not be set together with --offline, which makes no connections")
		}
		c := &checks{out: sys.stdout}
		c.run(*path, *offline, *metrics, *event, sys)
		if c.failed {
			return errReported
		}
		return nil
	}
	return cmd
}

// checks runs the checks and writes their results.
type checks struct {
	out    io.Writer
	failed bool // whether any check failed
}

// run runs the checks. If metrics is true, it also compares the metrics with the records. If event
// is not empty, it also sends an event with this name.
func (c *checks) run(path string, offline, metrics bool, event string, sys system) {
	use := config.Service
	if offline {
		use = config.Offline
	}
	cfg, err := config.LoadFor(use, path, sys.environ)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			c.fail("configuration", p, "")
		}
	case err != nil:
		c.fail("configuration", err, "")
	default:
		c.pass("configuration", "valid")
		for _, w := range cfg.Warnings() {
			c.warn("configuration", w.Error())
		}
	}
	if err != nil || offline {
		return
	}
	if cfg.Origin("launchdarkly.event_schema") == "default" {
		c.pass("launchdarkly.event_schema", "3 by default, which writes userKey like Segment's LaunchDarkly Events "+
			"destination; flags evaluated for contexts (SDKs since 2022) need 4 for events to count")
	}
	c.checkKafka(cfg)
	ld := &checks{out: c.out}
	transport := sys.transport
	if transport == nil {
		if transport, err = transportTo(cfg); err != nil {
			c.fail("launchdarkly.ca_file", err, "")
			return
		}
	}
	ld.checkLaunchDarkly(cfg, transport)
	if event != "" {
		ld.checkSend(cfg, event, transport)
	}
	if metrics {
		c.checkMetrics(cfg)
	}
	c.failed = c.failed || ld.failed
}

func (c *checks) pass(subject, result string) { c.writeLine("ok", subject, result) }

func (c *checks) skip(subject, reason string) { c.writeLine("skip", subject, reason) }

// warn reports a check with a suspicious result.
func (c *checks) warn(subject, result string) { c.writeLine("warn", subject, result) }

// fail reports a failed check. advice describes how to fix the problem, in one or more sentences,
// or is empty.
func (c *checks) fail(subject string, err error, advice string) {
	c.failed = true
	result := err.Error()
	if advice != "" {
		result = strings.TrimRight(result, ".") + ". " + advice
	}
	c.writeLine("FAIL", subject, result)
}

func (c *checks) writeLine(result, subject, text string) {
	fmt.Fprintf(c.out, "%-4s  %s: %s\n", result, subject, strings.ReplaceAll(text, "\n", "; "))
}

// checkContext returns a context with a timeout of checkTimeout.
func checkContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), checkTimeout)
}

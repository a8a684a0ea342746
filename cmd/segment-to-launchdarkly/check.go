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

// checkTimeout bounds each single question to Kafka or LaunchDarkly.
const checkTimeout = 10 * time.Second

func newCheck(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, and that Kafka and LaunchDarkly can be reached",
		Long: `Checks everything that run needs, changes nothing, and writes one line for each check:

  ok    what was found
  FAIL  what is wrong, and what to do about it
  skip  what cannot be known before the first event

The configuration is read; each broker is reached, by TLS and SASL if they are set; the
topics and the dead letters' topic exist and may be used; the group may be read; and
LaunchDarkly's address answers. The exit code is 1 if a check fails, also the first.

With --offline only the configuration itself is checked: no connection is made, and no
file that it names is opened, as befits a configuration for another machine.`,
		Example: `  ` + name + ` check --config config.yaml
  ` + name + ` check --config config.yaml --offline`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	offline := cmd.Flags().Bool("offline", false, "check the configuration alone")
	cmd.RunE = func(*cobra.Command, []string) error {
		c := &checks{out: sys.stdout}
		c.run(*path, *offline, sys)
		if c.failed {
			return errReported
		}
		return nil
	}
	return cmd
}

// checks writes the result of each check.
type checks struct {
	out    io.Writer
	failed bool
}

func (c *checks) run(path string, offline bool, sys system) {
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
		c.ok("configuration", "valid")
	}
	if err != nil || offline {
		return
	}
	c.kafka(cfg)
	c.launchDarkly(cfg, sys.transport)
}

func (c *checks) ok(subject, found string) { c.line("ok", subject, found) }

func (c *checks) skip(subject, why string) { c.line("skip", subject, why) }

// fail writes a failed check; advice says what to do, in sentences.
func (c *checks) fail(subject string, err error, advice string) {
	c.failed = true
	result := err.Error()
	if advice != "" {
		result = strings.TrimRight(result, ".") + ". " + advice
	}
	c.line("FAIL", subject, result)
}

func (c *checks) line(result, subject, text string) {
	fmt.Fprintf(c.out, "%-4s  %s: %s\n", result, subject, strings.ReplaceAll(text, "\n", "; "))
}

func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), checkTimeout)
}

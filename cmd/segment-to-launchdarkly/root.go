package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

const name = "segment-to-launchdarkly"

// These exit codes report failures. A run that drains completely after a signal exits with 0.
const (
	exitFailure     = 1   // the command or a check failed
	exitUsage       = 2   // the command line or the configuration is invalid
	exitInterrupted = 130 // a second signal ended the drain
)

// system is the environment in which a command runs.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	transport      http.RoundTripper // used by check; nil means the result of transportTo
}

// failure is an error other than an invalid command line or configuration.
type failure struct{ error }

// errReported is returned by a command that has already printed or logged its failure.
var errReported = failure{errors.New("reported")}

// execute runs a command line and returns the exit code.
func execute(args []string, sys system) int {
	root := newRoot(sys)
	root.SetArgs(args)
	err := root.Execute()
	var problems config.Problems
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return exitFailure
	case errors.As(err, &failure{}):
		fmt.Fprintf(sys.stderr, "%s: %v\n", name, err)
		return exitFailure
	case errors.As(err, &problems):
		fmt.Fprintf(sys.stderr, "%s: invalid configuration:\n", name)
		for _, p := range problems {
			fmt.Fprintf(sys.stderr, "  %v\n", p)
		}
		fmt.Fprintf(sys.stderr, "Run \"%s config example\" for a description of every key.\n", name)
	default:
		fmt.Fprintf(sys.stderr, "%s: %v\nRun \"%s --help\" for usage.\n", name, err, name)
	}
	return exitUsage
}

func newRoot(sys system) *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "Deliver Segment track calls from Kafka to LaunchDarkly",
		Long: `Reads Segment events from Kafka and delivers the track calls among them to LaunchDarkly
as custom events for experiments and metrics. LaunchDarkly counts each event once.

To get started, write a configuration, check access to Kafka and LaunchDarkly, preview how
the records in your topics are mapped, and run the program.`,
		Example: `  ` + name + ` config example > config.yaml
  ` + name + ` check --config config.yaml
  ` + name + ` preview --config config.yaml
  ` + name + ` run --config config.yaml`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(sys.stdin)
	root.SetOut(sys.stdout)
	root.SetErr(sys.stderr)
	root.AddCommand(
		newRun(sys), newRedrive(sys), newReplay(sys), newPreview(sys), newTransform(sys), newCheck(sys), newMetrics(sys),
		newVerify(sys), newConfig(sys), newVersion(sys),
	)
	return root
}

// addConfigFlag adds the --config flag to cmd and returns a pointer to its value.
func addConfigFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().StringP("config", "c", "", "YAML configuration file; S2LD_ environment variables override it")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails only for an unknown flag
	return path
}

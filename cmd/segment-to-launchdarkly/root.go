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

// The exit codes. A command that was told to stop and could deliver everything exits 0.
const (
	exitFailure     = 1   // something could not be done, or a check failed
	exitUsage       = 2   // a wrong command line or a wrong configuration
	exitInterrupted = 130 // a second signal, before what was under way had ended
)

// system is what a command has of the world around it.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	transport      http.RoundTripper // of check; nil: as the service's
}

// failure is an error that is neither the command line's nor the configuration's.
type failure struct{ error }

// errReported is the failure of a command that has told why itself.
var errReported = failure{errors.New("reported")}

// execute runs one command line and returns the exit code.
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
		fmt.Fprintf(sys.stderr, "%s: the configuration cannot be used:\n", name)
		for _, p := range problems {
			fmt.Fprintf(sys.stderr, "  %v\n", p)
		}
		fmt.Fprintf(sys.stderr, "%s config example writes every key and what it may be.\n", name)
	default:
		fmt.Fprintf(sys.stderr, "%s: %v\nSee %s --help.\n", name, err, name)
	}
	return exitUsage
}

func newRoot(sys system) *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "Deliver Segment track events from Kafka to LaunchDarkly",
		Long: `Reads Segment events from Kafka and delivers the track calls among them to LaunchDarkly
as custom events, so that they count in experiments and metrics. Each counts once.

To begin: write a configuration, try the mapping on some of your events, check what it
needs, and run it.`,
		Example: `  ` + name + ` config example > config.yaml
  ` + name + ` transform --config config.yaml < events.ndjson
  ` + name + ` check --config config.yaml
  ` + name + ` run --config config.yaml`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(sys.stdin)
	root.SetOut(sys.stdout)
	root.SetErr(sys.stderr)
	root.AddCommand(newRun(sys), newTransform(sys), newCheck(sys), newConfig(sys), newVersion(sys))
	return root
}

// configFlag gives cmd the flag --config.
func configFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().StringP("config", "c", "", "YAML file to read; variables that start with S2LD_ win over it")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // an error only for an unknown flag
	return path
}

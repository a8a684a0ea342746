// Demo shows segment-to-launchdarkly at work and requires only Go. It runs an embedded Kafka, a
// Segment event generator, and a fake LaunchDarkly in one process, and the program in separate
// processes.
//
//	go run ./cmd/demo                   run until Ctrl-C
//	go run ./cmd/demo -tour             show an outage, a crash, and the recovery in about a minute
//	go run ./cmd/demo -events 50000     run for 50,000 records
//	go run ./cmd/demo -faults           run with random LaunchDarkly failures
//
// The exit code is 1 if an event is missing or counted twice. Demo writes a final summary to
// standard output as one line of JSON, and everything else to standard error.
//
// docker-compose.yml runs these parts in separate containers, with Apache Kafka as the broker. For
// the demo's subcommands, see demo launchdarkly -help, demo generate -help, and demo probe -help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1   // an event is missing or counted twice, or a step failed
	exitUsage       = 2   // the command line or a setting is invalid
	exitInterrupted = 130 // a second signal arrived
)

// system holds the streams, environment, and signals that a command uses.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	signals        <-chan os.Signal // the first signal requests a clean stop, the second an immediate one
}

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(execute(os.Args[1:], system{os.Stdin, os.Stdout, os.Stderr, os.Environ(), signals}))
}

// execute runs the command given by args and returns the exit code.
func execute(args []string, sys system) int {
	command := runDemo
	if len(args) > 0 {
		if c := commands[args[0]]; c != nil {
			command, args = c, args[1:]
		}
	}
	err := command(args, sys)
	var invalid usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &invalid):
		fmt.Fprintln(sys.stderr, err)
		return exitUsage
	default:
		fmt.Fprintln(sys.stderr, err)
		return exitFailure
	}
}

var commands = map[string]func(args []string, sys system) error{
	"launchdarkly": runLaunchDarkly,
	"generate":     runGenerate,
	"probe":        runProbe,
	"replica":      runReplica, // started by the demo
}

// usageError is an error in the command line or a setting.
type usageError struct{ error }

var errInterrupted = errors.New("interrupted")

// newFlags returns a flag set whose help begins with the given text.
func newFlags(name, text string, sys system) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(sys.stderr)
	f.Usage = func() {
		fmt.Fprintf(sys.stderr, "%s\n\nFlags for %s:\n", text, name)
		f.PrintDefaults()
	}
	return f
}

// parse parses args and requires exactly the given number of arguments after the flags.
func parse(f *flag.FlagSet, args []string, arguments int) error {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil: // f.Parse has already printed the error
		return usageError{fmt.Errorf("see %s -help", f.Name())}
	case f.NArg() > arguments:
		return usageError{fmt.Errorf("%s: unexpected argument %q; see %[1]s -help", f.Name(), f.Arg(arguments))}
	case f.NArg() < arguments:
		return usageError{fmt.Errorf("%s: missing argument; see %[1]s -help", f.Name())}
	}
	return nil
}

// untilSignal returns a context canceled by the first signal.
func untilSignal(signals <-chan os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

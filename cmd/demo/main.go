// Demo shows segment-to-launchdarkly at work, and needs nothing but Go. It runs an embedded Kafka,
// a fake LaunchDarkly, a generator of Segment events, and the program between them, in one process.
//
//	go run ./cmd/demo                   until Ctrl-C
//	go run ./cmd/demo -events 50000     50,000 records; exits 1 if an event is missing or counted twice
//	go run ./cmd/demo -faults           with a LaunchDarkly that fails at random
//
// Standard output has only the summary, one line of JSON at the end. Everything else is on standard
// error.
//
// docker-compose.yml runs the parts separately around the built program. demo launchdarkly -help,
// demo generate -help, and demo probe -help describe them.
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

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1   // an event is missing or counted twice, or the demo failed
	exitUsage       = 2   // a wrong command line or setting
	exitInterrupted = 130 // a second signal
)

// system is the environment of a command.
type system struct {
	stdout, stderr io.Writer
	environ        []string
	signals        <-chan os.Signal // the first drains, the second exits immediately
}

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(execute(os.Args[1:], system{os.Stdout, os.Stderr, os.Environ(), signals}))
}

// execute runs one command line and returns the exit code.
func execute(args []string, sys system) int {
	command := runDemo
	if len(args) > 0 {
		if c := commands[args[0]]; c != nil {
			command, args = c, args[1:]
		}
	}
	err := command(args, sys)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &wrong):
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
}

// usageError is a wrong command line or setting.
type usageError struct{ error }

var errInterrupted = errors.New("interrupted")

// newFlags returns the flags of a command, whose help begins with text.
func newFlags(name, text string, sys system) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(sys.stderr)
	f.Usage = func() {
		fmt.Fprintf(sys.stderr, "%s\n\nFlags of %s:\n", text, name)
		f.PrintDefaults()
	}
	return f
}

// parse reads a command line with the given number of arguments after the flags.
func parse(f *flag.FlagSet, args []string, arguments int) error {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil: // f has printed the error
		return usageError{fmt.Errorf("see %s -help", f.Name())}
	case f.NArg() > arguments:
		return usageError{fmt.Errorf("%s: %q: neither a flag nor a command; see %[1]s -help", f.Name(), f.Arg(arguments))}
	case f.NArg() < arguments:
		return usageError{fmt.Errorf("%s: an argument is missing; see %[1]s -help", f.Name())}
	}
	return nil
}

// untilSignal returns a context that is done after the first signal.
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

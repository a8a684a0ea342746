// Bench measures the CPU, memory, and time that the program needs to deliver a topic of Segment
// events. The baseline, called the floor, is a consumer group that fetches the same records with
// the same client and discards them.
//
//	go run ./cmd/bench                       write a table
//	go run ./cmd/bench -rounds 3             write a table in less time
//	go run ./cmd/bench -json                 write JSON
//	go run ./cmd/bench -pprof /tmp/profiles  also write CPU profiles
//
// The broker, the receiver, the floor, and the forwarder each run in a separate process. The broker
// is an embedded Kafka. The receiver is a fake LaunchDarkly that accepts and counts all events. The
// forwarder is the program with its default settings. Environment variables override these
// settings, for example S2LD_BATCH_MAX_EVENTS=500 go run ./cmd/bench. The floor and the forwarder
// take turns over several rounds.
//
// # Figures
//
// CPU is the process's user and system time, minus that of an idle run. In an idle run, the same
// role starts, joins a group on an empty topic, and leaves. Allocations and garbage collections are
// Go runtime statistics, also minus those of the idle run. Peak memory is the process's largest
// resident set, with nothing subtracted.
//
// Records per second excludes startup and shutdown. For the floor, the rate is measured from the
// first poll to the last. For the forwarder, it is measured from the first request to the last one
// before shutdown.
//
// Lost is the number of missing or surplus events after deduplication by payload ID, plus the
// number of uncommitted records. If Lost is not 0, the exit code is 1. The receiver decompresses
// and counts request bodies only after a run, because it shares the machine's CPUs with the
// forwarder.
//
// # Profiles
//
// The documentation of package consumer lists findings from earlier profiles. To profile the
// forwarder:
//
//	go run ./cmd/bench -pprof /tmp/profiles && go tool pprof -top -cum /tmp/profiles/*-forwarder-*.cpu.pprof
//
// # Comparing builds
//
// Compare builds by their ratio to the floor, because the floor and the forwarder take turns on the
// same machine. Absolute CPU times and rates depend on the machine's load.
//
// To measure a change, run both builds in the same rounds:
//
//	go build -o /tmp/before ./cmd/bench      # then make the change
//	go run ./cmd/bench -against /tmp/before
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// options holds the command-line flags. Child processes receive only -role, -records, and -pprof.
type options struct {
	role    string
	records int
	rounds  int
	against string // path of another build of bench
	json    bool
	pprof   string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.role, "role", "", "`role` of this process; used only by bench itself")
	f.IntVar(&o.records, "records", 1_000_000, "`number` of records in the topic")
	f.IntVar(&o.rounds, "rounds", 5,
		"`number` of rounds, each with one run of the floor (the baseline) and one of the forwarder")
	f.StringVar(&o.against, "against", "",
		"`path` of a second build of bench to compare with; its forwarder also runs in each round")
	f.BoolVar(&o.json, "json", false, "write JSON instead of a table")
	f.StringVar(&o.pprof, "pprof", "", "`directory` for CPU profiles of the floor and the forwarder, one per run. "+
		"Profiling uses a little CPU time")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.records < 1 || o.rounds < 1:
		return nil, errors.New("-records and -rounds must be at least 1")
	}
	return o, nil
}

func main() {
	// The first signal stops the measurement. The child processes exit when this process exits.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs bench with the given arguments and returns the exit code. The code is 0 on success,
// 1 if a step failed or anything was lost, and 2 if a flag is invalid.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	runtime.MemProfileRate = 0 // no heap profiling, as in the program's own binary
	if o.role != "" {
		err = roles[o.role](o, stdin, stdout)
	} else {
		err = measure(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// roles maps each role to the function that a child process runs. The function returns when
// standard input is closed.
var roles = map[string]func(o *options, stdin io.Reader, stdout io.Writer) error{
	roleBroker:    runBroker,
	roleReceiver:  runReceiver,
	roleFloor:     runFloor,
	roleForwarder: runForwarder,
}

const (
	roleBroker    = "broker"
	roleReceiver  = "receiver"
	roleFloor     = "floor"
	roleForwarder = "forwarder"
)

// measure runs the measurement and writes the results.
func measure(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	r, err := run(ctx, o, stderr)
	if err != nil {
		return err
	}
	if o.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		err = r.table(stdout)
	}
	return errors.Join(err, r.lost())
}

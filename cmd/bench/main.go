// Bench measures the cost of a record: the CPU, memory, and time that the program needs to deliver
// a topic of Segment events. It compares them with the floor, a consumer group that fetches the
// same records with the same client and discards them.
//
//	go run ./cmd/bench                       the table
//	go run ./cmd/bench -rounds 3             the same in less time
//	go run ./cmd/bench -json                 the same for machines
//	go run ./cmd/bench -pprof /tmp/profiles  the table, and CPU profiles
//
// Each role is a process of its own: an embedded broker; a receiver in place of LaunchDarkly, which
// accepts and counts everything; and in turns, over several rounds, the floor and the forwarder.
// The forwarder is the program with its production configuration. Environment variables change its
// settings: S2LD_BATCH_MAX_EVENTS=500 go run ./cmd/bench.
//
// # The figures
//
// CPU is the user and system time of the whole process, less that of an idle run, in which the same
// role starts, joins a group on an empty topic, and leaves. Allocations and collections are the Go
// runtime's, less those of the idle run. Peak memory is the largest resident set of the process,
// with nothing subtracted.
//
// Records per second are measured from the first poll to the last for the floor. For the forwarder
// they are measured from the first request to the last one that arrived before it was told to stop.
//
// Lost is the number of events that are missing, or too many, after deduplication by payload ID,
// plus the number of records that the group has not committed. If it is not 0, the exit code is 1.
// The receiver decompresses and counts request bodies only after a run, because it shares the CPU
// with the forwarder.
//
// # What a record costs
//
// The documentation of package consumer describes where the forwarder's CPU goes. To see it:
//
//	go run ./cmd/bench -pprof /tmp/profiles && go tool pprof -top -cum /tmp/profiles/*-forwarder-*.cpu.pprof
//
// # How to compare
//
// Compare by the ratio to the floor, whose processes ran in turns with the forwarder on the same
// machine. All other figures depend on the load of the machine.
//
// To measure a change, let both builds take turns:
//
//	go build -o /tmp/before ./cmd/bench      then make the change
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

// options are the flags. The flags of a role are role, records, and pprof.
type options struct {
	role    string
	records int
	rounds  int
	against string // path of a build of bench
	json    bool
	pprof   string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.role, "role", "", "what this `process` is; used by bench itself")
	f.IntVar(&o.records, "records", 1_000_000, "records in the topic")
	f.IntVar(&o.rounds, "rounds", 5, "rounds, each with one run of the floor and one of the forwarder")
	f.StringVar(&o.against, "against", "", "`path` of another build of bench, whose forwarder takes turns with this one")
	f.BoolVar(&o.json, "json", false, "write JSON")
	f.StringVar(&o.pprof, "pprof", "", "`directory` for CPU profiles of the floor and the forwarder, one per run; "+
		"profiling costs a little CPU")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q: not a flag", f.Arg(0))
	case o.records < 1 || o.rounds < 1:
		return nil, errors.New("-records and -rounds: must be at least 1")
	}
	return o, nil
}

func main() {
	// The first signal ends the measurement. The children end with this process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code: 0; 1 if something failed or was lost; 2
// for a wrong flag.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	runtime.MemProfileRate = 0 // as in the program's own binary, which has no heap profile
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

// roles are what a child can be. They run until their standard input ends.
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

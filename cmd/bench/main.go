// Bench measures the CPU, memory, and time that the program needs to deliver a topic of Segment
// events. The baseline, called the floor, is a consumer group that fetches the same records with
// the same client and discards them.
//
//	go run ./cmd/bench                       write a table
//	go run ./cmd/bench -rounds 3             write a table in less time
//	go run ./cmd/bench -all                  measure everything below, and write Markdown tables
//	go run ./cmd/bench -json                 write JSON
//	go run ./cmd/bench -pprof /tmp/profiles  also write CPU profiles
//
// The broker, the receiver, the floor, and the forwarder each run in a separate process. The broker
// is an embedded Kafka or, with -apache, Apache Kafka. The receiver is a fake LaunchDarkly that
// accepts and counts all events. The forwarder is the program with its default settings.
// Environment variables override these settings, for example S2LD_BATCH_MAX_EVENTS=500 go run
// ./cmd/bench. The floor and the forwarder take turns over several rounds.
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
// With -all, bench also measures:
//
//   - where the CPU time goes: fetching (the floor), mapping and gzip (each measured alone in every
//     round, on the same records in memory), and everything else, which is the program's own share
//   - peak memory with 6 and 64 partitions, each with all records and with a tenth of them
//   - CPU time and latency while records are produced one at a time, at 100, 1,000, and 20,000 per
//     second. Latency is the time from producing a record to the 2xx response for its event, and
//     includes batch.max_age
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

// options holds the command-line flags. Child processes receive only -role, -records, -apache, and
// -pprof.
type options struct {
	role       string
	records    int
	rounds     int
	all        bool
	apache     bool
	codec      string
	batchBytes int
	against    string // path of another build of bench
	json       bool
	pprof      string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.role, "role", "", "`role` of this process; used only by bench itself")
	f.IntVar(&o.records, "records", 1_000_000, "`number` of records in the topic")
	f.IntVar(&o.rounds, "rounds", 5,
		"`number` of rounds, each with one run of the floor (the baseline) and one of the forwarder")
	f.BoolVar(&o.all, "all", false, "also measure where the CPU time goes, memory by number of partitions, "+
		"and CPU and latency at constant rates")
	f.BoolVar(&o.apache, "apache", false, "use Apache Kafka (make kafka) instead of the embedded broker")
	f.StringVar(&o.codec, "codec", "zstd", "compression `codec` of the records: none, gzip, snappy, lz4, or zstd")
	f.IntVar(&o.batchBytes, "batch-bytes", 1_000_000, "maximum `size` of a producer batch before compression")
	f.StringVar(&o.against, "against", "",
		"`path` of a second build of bench to compare with; its forwarder also runs in each round")
	f.BoolVar(&o.json, "json", false, "write JSON instead of a table")
	f.StringVar(&o.pprof, "pprof", "", "`directory` for CPU profiles of the floor and the forwarder, one per run. "+
		"Profiling uses a little CPU time")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	_, known := codecs[o.codec]
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.records < 1 || o.rounds < 1:
		return nil, errors.New("-records and -rounds must be at least 1")
	case !known:
		return nil, fmt.Errorf("unknown codec %q", o.codec)
	case o.batchBytes < 1<<10 || o.batchBytes > 1<<30:
		return nil, errors.New("-batch-bytes must be between 1024 and 1073741824")
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
	roleMapper:    runMapper,
}

const (
	roleBroker    = "broker"
	roleReceiver  = "receiver"
	roleFloor     = "floor"
	roleForwarder = "forwarder"
	roleMapper    = "mapper"
)

// measure runs the measurement and writes the results.
func measure(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	r, err := run(ctx, o, stderr)
	if err != nil {
		return err
	}
	switch {
	case o.json:
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	case o.all:
		r.markdown(stdout)
	default:
		err = r.table(stdout)
	}
	return errors.Join(err, r.lost())
}

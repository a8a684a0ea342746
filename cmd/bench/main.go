// Bench measures the cost of a record. It compares the CPU, the memory, and the time that the
// program takes to deliver a topic of Segment events with those of the floor, a consumer group that
// fetches the same records with the same client and discards them.
//
//	go run ./cmd/bench                       write a table
//	go run ./cmd/bench -json                 write JSON
//	go run ./cmd/bench -pprof /tmp/profiles  also write CPU and heap profiles
//
// Each role is a separate process. The broker is embedded or real. The receiver stands in for
// LaunchDarkly, accepts everything, and counts. The floor and the forwarder take turns over several
// rounds. The forwarder is the program with its production configuration. Environment variables
// change its settings, as in S2LD_BATCH_MAX_EVENTS=500 go run ./cmd/bench.
//
// # What the figures mean
//
// CPU is the user and system time of the whole process after it has exited, minus that of an idle
// run. In an idle run, the same role starts, joins a group on an empty topic, and leaves.
// Allocations and garbage collections are those of the Go runtime, also minus those of the idle
// run. Peak memory is the largest resident set of the process, and nothing is subtracted.
//
// Records and megabytes per second exclude startup and shutdown. For the floor, they cover the time
// from the first poll to the last. For the forwarder, they cover the time from the first request to
// the last one before the stop. Megabytes count the records' values before the topic's compression.
// Sent megabytes count the request bodies as sent.
//
// Lost is the number of events that are missing or surplus after deduplication by payload ID, plus
// the number of records that the group has not committed. If it is not 0, the exit code is 1.
// During a run, the receiver only stores the bodies. It decompresses and counts them afterwards, so
// that it takes little CPU from the forwarder.
//
// # Where the CPU goes
//
// The documentation of package consumer describes where the forwarder's CPU goes. To profile it,
// run
//
//	go run ./cmd/bench -pprof /tmp/profiles && go tool pprof -top -cum /tmp/profiles/*-forwarder-*.cpu.pprof
//
// # How to compare builds
//
// Compare by the ratio to the floor, since the floor and the forwarder take turns on the same
// machine. Other load on the machine affects all other figures.
//
// To measure a change, let both builds take turns. The result then does not depend on other load:
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
	"strings"
	"syscall"
	"time"
)

// options holds the flags. A role is started with the flags that it needs.
type options struct {
	role string

	records    int
	partitions int
	idle       int // additional partitions without records
	codec      string
	batchBytes int

	gzip     bool
	latency  time.Duration
	replicas int
	rounds   int
	rest     time.Duration

	against string // path of another build of bench
	brokers string
	apache  bool
	json    bool
	pprof   string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.role, "role", "", "`role` of this process; used only by bench itself")
	f.IntVar(&o.records, "records", 1_000_000, "`number` of records in the topic")
	f.IntVar(&o.partitions, "partitions", 6, "`number` of partitions that hold the records")
	f.IntVar(&o.idle, "idle-partitions", 0, "`number` of additional partitions without records")
	f.StringVar(&o.codec, "codec", "zstd", "compression `codec` of the topic: "+strings.Join(codecNames(), ", "))
	f.IntVar(&o.batchBytes, "batch-bytes", 1_000_000, "maximum size of a producer's batch before compression, in `bytes`")
	f.BoolVar(&o.gzip, "gzip", true, "compress requests")
	f.DurationVar(&o.latency, "latency", time.Millisecond, "`duration` before the receiver responds")
	f.IntVar(&o.replicas, "replicas", 1, "`number` of forwarder processes in the group. Their costs are added, and the highest of their memory peaks counts")
	f.IntVar(&o.rounds, "rounds", 5, "`number` of rounds of the floor and of the forwarder")
	f.DurationVar(&o.rest, "idle", time.Second, "`duration` of an idle run after the group is joined")
	f.StringVar(&o.against, "against", "", "`path` of another build of bench, whose forwarder also runs in each round")
	f.StringVar(&o.brokers, "brokers", "", "`addresses` of real brokers, separated by commas. S2LD_KAFKA_* variables configure the connection. Bench creates two topics and deletes them. Empty: the embedded broker")
	f.BoolVar(&o.apache, "apache", false, "use one node of Apache Kafka, started from its jars (make kafka), instead of the embedded broker")
	f.BoolVar(&o.json, "json", false, "write JSON instead of a table")
	f.StringVar(&o.pprof, "pprof", "", "`directory` for CPU and heap profiles of the floor and the forwarder in each round. Profiling costs a little CPU")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is not a flag", f.Arg(0))
	case o.records < 1 || o.partitions < 1 || o.idle < 0 || o.rounds < 1 || o.replicas < 1 || o.batchBytes < 1:
		return nil, errors.New("-records, -partitions, -rounds, -replicas, and -batch-bytes must be at least 1, and -idle-partitions must not be negative")
	case o.brokers != "" && o.apache:
		return nil, errors.New("-brokers and -apache must not be used together")
	}
	_, err := codecOf(o.codec)
	return o, err
}

func main() {
	// The first signal stops the measurement cleanly. The children exit with this process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line. It returns 0, or 1 if a step failed or anything was lost, or 2 if
// a flag is invalid.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if o.pprof == "" {
		runtime.MemProfileRate = 0 // the program's own binary has no profiles either
	}
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

// roles are the functions that a child can run. They return when standard input is closed.
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

// measure runs the benchmark and writes the report.
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

// Bench measures what a record costs: the CPU, the memory and the time that the program takes to deliver a topic of Segment
// events, beside the floor, which is a consumer group that fetches the same records with the same client and discards them.
//
//	go run ./cmd/bench                       the table
//	go run ./cmd/bench -json                 the same for machines
//	go run ./cmd/bench -pprof /tmp/profiles  and where the CPU and the memory went
//
// Each role is a process of its own: a broker, embedded or real; a receiver in the place of LaunchDarkly that takes
// everything and counts; and in turns, over several rounds, the floor and the forwarder, which is the program with its
// production configuration. Any setting of it can be tried by its variable: S2LD_BATCH_MAX_EVENTS=500 go run ./cmd/bench.
//
// # What the figures are
//
// CPU is user and system time of the whole process after it has ended, less that of an idle run, in which the same role
// starts, joins a group on an empty topic, and leaves. Allocations and collections are the Go runtime's, less those of
// the idle run likewise. Peak memory is the process's largest resident set, and nothing is taken off.
//
// Records and megabytes a second are of the time in between: for the floor from the first poll to the last, for the
// forwarder from the arrival of the first request to that of the last one before it was told to stop. Megabytes are of the
// records' values, before the topic's compression; sent megabytes are those of the requests' bodies as sent.
//
// Lost says how many events are missing or too many after deduplication by payload ID, and how many records the group has
// not committed. It must be 0, else the exit code is 1. The receiver only keeps bodies during a run, and unpacks and counts
// them afterwards, so that it takes little of the CPU that the forwarder is measured on.
//
// # What a record costs
//
// Package consumer's documentation says where the forwarder's CPU goes. See it with
//
//	go run ./cmd/bench -pprof /tmp/profiles && go tool pprof -top -cum /tmp/profiles/*-forwarder-*.cpu.pprof
//
// # How to compare
//
// The ratio to the floor is the figure to compare by: it compares processes that ran in turns on the same machine. What
// else the machine does shows in all other figures.
//
// What a change is worth shows when both builds take turns, however busy the machine is:
//
//	go build -o /tmp/before ./cmd/bench      and now the change
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

// options are the flags. A role is started with those that concern it.
type options struct {
	role string

	records    int
	partitions int
	idle       int // partitions more, without records
	codec      string
	batchBytes int

	gzip     bool
	latency  time.Duration
	replicas int
	rounds   int
	rest     time.Duration

	against string // path of a bench
	brokers string
	apache  bool
	json    bool
	pprof   string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.role, "role", "", "used by bench itself: what this `process` is")
	f.IntVar(&o.records, "records", 1_000_000, "records in the topic")
	f.IntVar(&o.partitions, "partitions", 6, "partitions that hold them")
	f.IntVar(&o.idle, "idle-partitions", 0, "partitions of the topic beside those, without records")
	f.StringVar(&o.codec, "codec", "zstd", "compression of the topic: "+strings.Join(codecNames(), ", "))
	f.IntVar(&o.batchBytes, "batch-bytes", 1_000_000, "`bytes` of one producer's batch, before compression, at most")
	f.BoolVar(&o.gzip, "gzip", true, "compress requests")
	f.DurationVar(&o.latency, "latency", time.Millisecond, "time that the receiver takes to answer")
	f.IntVar(&o.replicas, "replicas", 1, "processes that the forwarder's group consists of; their costs are added up, of their peaks the highest counts")
	f.IntVar(&o.rounds, "rounds", 5, "rounds, of the floor and the forwarder each")
	f.DurationVar(&o.rest, "idle", time.Second, "how long an idle run lasts, once its group has been joined")
	f.StringVar(&o.against, "against", "", "`path` of another build of bench, whose forwarder takes its turn in each round too")
	f.StringVar(&o.brokers, "brokers", "", "`addresses` of a real Kafka, separated by commas; S2LD_KAFKA_... variables say how to reach it. A topic is created in it and deleted. Empty: the embedded broker")
	f.BoolVar(&o.apache, "apache", false, "start one node of Apache Kafka from its jars (make kafka) instead of the embedded broker")
	f.BoolVar(&o.json, "json", false, "write JSON")
	f.StringVar(&o.pprof, "pprof", "", "`directory` for CPU and heap profiles of the floor and the forwarder, one of each a round; this costs a little CPU")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q: not a flag", f.Arg(0))
	case o.records < 1 || o.partitions < 1 || o.idle < 0 || o.rounds < 1 || o.replicas < 1 || o.batchBytes < 1:
		return nil, errors.New("-records, -partitions, -rounds, -replicas and -batch-bytes must be at least 1, -idle-partitions not negative")
	case o.brokers != "" && o.apache:
		return nil, errors.New("-brokers and -apache: one or the other")
	}
	_, err := codecOf(o.codec)
	return o, err
}

func main() {
	// The first signal ends the measurement in order: with this process, its children end.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code: 0, 1 if something failed or was lost, 2 for a wrong flag.
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
		runtime.MemProfileRate = 0 // as in the program's own binary, which has no profiles
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

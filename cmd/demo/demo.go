package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

const (
	topic       = "segment"
	deadLetters = "segment.dead"
	partitions  = 6
)

// options holds the flags of the demo.
type options struct {
	events      int64
	rate        float64
	seed        uint64
	faults      faults
	port        int
	kafkaPort   int
	metricsPort int
}

const usage = `Demo runs segment-to-launchdarkly between an embedded Kafka with a generator of mixed
Segment events and a fake LaunchDarkly, in one process, and checks that every event counts
once. At the end, it writes a summary as one line of JSON. It exits with code 1 if an event
is missing or counted twice.

Environment variables change the program's settings:

  S2LD_BATCH_MAX_EVENTS=100 go run ./cmd/demo

The parts also run alone, as demo launchdarkly, demo generate, and demo probe URL.`

func parseOptions(args []string, sys system) (o options, err error) {
	f := newFlags("demo", usage, sys)
	f.Int64Var(&o.events, "events", 0, "`records` to produce; the demo exits when all are delivered. 0: produce until Ctrl-C")
	f.Float64Var(&o.rate, "rate", 0, "`records` produced per second. 0: 1,000, or as many as possible with -events")
	f.Uint64Var(&o.seed, "seed", 1, "`seed` of the events and the faults")
	o.faults.flags(f)
	f.IntVar(&o.port, "port", 0, "`port` of the fake LaunchDarkly, with its control API under "+controlPath+". 0: any free port")
	f.IntVar(&o.kafkaPort, "kafka-port", 0, "`port` of the broker, for other clients. 0: any free port")
	f.IntVar(&o.metricsPort, "metrics-port", 0, "`port` of the program's status page and metrics. 0: any free port")
	if err := errors.Join(parse(f, args, 0), o.faults.check()); err != nil {
		return o, err
	}
	if o.events < 0 || o.rate < 0 {
		return o, usageError{errors.New("-events and -rate: must not be negative")}
	}
	if o.rate == 0 && o.events == 0 {
		o.rate = 1000
	}
	return o, nil
}

func runDemo(args []string, sys system) error {
	o, err := parseOptions(args, sys)
	if err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "segment-to-launchdarkly-demo-") // records in memory would take a gigabyte
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(dir), kfake.Ports(o.kafkaPort), kfake.SeedTopics(partitions, topic), kfake.SeedTopics(1, deadLetters))
	if err != nil {
		return err
	}
	defer cluster.Close()
	brokers := cluster.ListenAddrs()

	ledger := newLedger(o.seed)
	samples := &sampler{gen: segmenttest.New(o.seed), picked: make(chan sample, 1)}
	ld := ldtest.New(ldtest.Config{Identity: ldtest.DataField(segmenttest.NumberField), OnRequest: func(r ldtest.Request) {
		ledger.received(r)
		samples.received(r)
	}})
	o.faults.apply(ld, o.seed)
	listener, err := net.Listen("tcp", loopback(o.port))
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	screen := newScreen(sys.stderr)
	defer serve(listener, face(ld), screen).Close()

	cfg, err := settings(sys.environ, o, brokers, address)
	if err != nil {
		return err
	}
	program, err := app.New(cfg, newLogger(cfg.Log, screen))
	if err != nil {
		return err
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer kafka.Close()

	fmt.Fprintf(screen, `segment-to-launchdarkly runs between an embedded Kafka and a fake LaunchDarkly

Kafka            %s, topic %s, dead letters in %s
LaunchDarkly     %s
metrics          http://%s/metrics, and the status page at /
start an outage  curl -X POST '%[4]s%[6]s/down?fault=503'
end the outage   curl -X POST %[4]s%[6]s/up

`, strings.Join(brokers, ","), topic, deadLetters, address, program.AdminAddress(), controlPath)
	d := &demo{
		options: o, group: cfg.Kafka.Group, screen: screen, ledger: ledger, ld: ld, samples: samples.picked, program: program,
		kafka:     kadm.NewClient(kafka),
		generator: &generator{brokers: brokers, topic: topic, seed: o.seed, events: o.events, rate: o.rate, expect: ledger.expect},
	}
	return d.run(sys)
}

// loopback returns the address of a port that is reachable only from this machine.
func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

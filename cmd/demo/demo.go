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

// seed determines the events and the faults.
const seed = 1

// faultRate is the share of requests that fail with -faults.
const faultRate = 0.2

// options are the flags of the demo.
type options struct {
	events int64
	rate   float64
	faults bool
}

const usage = `Demo runs an embedded Kafka, a fake LaunchDarkly, a generator of mixed Segment events, and
segment-to-launchdarkly between them, in one process. It checks that every event counts
once, writes a summary as one line of JSON at the end, and exits 1 if an event is missing
or counted twice. Environment variables change the settings of the program:

  S2LD_BATCH_MAX_EVENTS=100 go run ./cmd/demo

docker-compose.yml runs the parts separately: demo launchdarkly, demo generate, and
demo probe URL.`

func parseOptions(args []string, sys system) (o options, err error) {
	f := newFlags("demo", usage, sys)
	f.Int64Var(&o.events, "events", 0, "`records` to produce before the demo ends. 0: it runs until Ctrl-C")
	f.Float64Var(&o.rate, "rate", 0, "`records` per second. 0: 1,000, or with -events as fast as possible")
	f.BoolVar(&o.faults, "faults", false, "let a fifth of the requests to LaunchDarkly fail: 429, 5xx, hangs, resets, "+
		"and truncated responses, before and after LaunchDarkly accepts the request")
	if err := parse(f, args, 0); err != nil {
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

	dir, err := os.MkdirTemp("", "segment-to-launchdarkly-demo-") // in memory, records would need a gigabyte
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(dir),
		kfake.SeedTopics(partitions, topic), kfake.SeedTopics(1, deadLetters))
	if err != nil {
		return err
	}
	defer cluster.Close()
	brokers := cluster.ListenAddrs()

	ledger := newLedger()
	samples := &sampler{gen: segmenttest.New(seed), picked: make(chan sample, 1)}
	ld := ldtest.New(ldtest.Config{Identity: ldtest.DataField(segmenttest.NumberField), OnRequest: func(r ldtest.Request) {
		ledger.received(r)
		samples.received(r)
	}})
	if o.faults {
		ld.Random(seed, faultRate)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	screen := newScreen(sys.stderr)
	defer serve(listener, face(ld), screen).Close()

	cfg, err := settings(sys.environ, brokers, address)
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

	fmt.Fprintf(screen, `segment-to-launchdarkly, between an embedded Kafka and a fake LaunchDarkly

Kafka            %s, topic %s, dead letters in %s
LaunchDarkly     %s
metrics          http://%s/metrics, and the status page at /
try an outage    curl -X POST '%[4]s%[6]s/down?fault=503'
and its end      curl -X POST %[4]s%[6]s/up

`, strings.Join(brokers, ","), topic, deadLetters, address, program.AdminAddress(), controlPath)
	d := &demo{
		options: o, group: cfg.Kafka.Group, screen: screen, ledger: ledger, ld: ld, samples: samples.picked, program: program,
		kafka:     kadm.NewClient(kafka),
		generator: &generator{brokers: brokers, topic: topic, events: o.events, rate: o.rate, expect: ledger.expect},
	}
	return d.run(sys)
}

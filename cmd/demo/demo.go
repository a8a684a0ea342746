package main

import (
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

const (
	topic       = "segment"
	deadLetters = "segment.dead"
	partitions  = 6
)

// seed is the seed for the generated events and the random faults.
const seed = 1

// faultRate is the fraction of requests that fail if -faults is set.
const faultRate = 0.2

// options holds the demo's flags.
type options struct {
	events int64
	rate   float64
	faults bool
	tour   bool
	pace   time.Duration
}

const usage = `Demo produces mixed Segment events to an embedded Kafka, runs segment-to-launchdarkly to
deliver them to a fake LaunchDarkly, and checks that every event is counted exactly once. The
program runs in a separate process, or in several with -tour. At the end, demo writes a summary
as one line of JSON. It exits with code 1 if an event is missing or counted twice.

Environment variables change the settings of the program:

  S2LD_BATCH_MAX_EVENTS=100 go run ./cmd/demo

docker-compose.yml runs the parts in separate containers, with the commands
demo launchdarkly, demo generate, and demo probe URL.`

func parseOptions(args []string, sys system) (o options, err error) {
	f := newFlags("demo", usage, sys)
	f.Int64Var(&o.events, "events", 0, "`records` to produce before the demo exits. 0 means that it runs until Ctrl-C")
	f.Float64Var(&o.rate, "rate", 0, "`records` to produce per second. 0 means 1,000, or as many as possible with -events")
	f.BoolVar(&o.faults, "faults", false, "make a fifth of the requests to LaunchDarkly fail at random, with 429, 5xx, "+
		"hangs, resets, and truncated responses, before or after LaunchDarkly accepts the request")
	f.BoolVar(&o.tour, "tour", false, "run two replicas, and show an outage, a crash, and the recovery in about a minute")
	f.DurationVar(&o.pace, "pace", 12*time.Second, "`duration` of the tour's normal operation and of its outage")
	if err := parse(f, args, 0); err != nil {
		return o, err
	}
	if o.tour && o.events > 0 {
		return o, usageError{errors.New("-tour and -events must not be combined")}
	}
	if o.events < 0 || o.rate < 0 {
		return o, usageError{errors.New("-events and -rate must not be negative")}
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

	dir, err := os.MkdirTemp("", "segment-to-launchdarkly-demo-") // on disk, because the records can take a gigabyte
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
	samples, outage := newSampler(), &outage{}
	ld := ldtest.New(ldtest.Config{Identity: ldtest.DataField(segmenttest.NumberField), OnRequest: func(r ldtest.Request) {
		ledger.addRequest(r)
		samples.inspect(r)
		outage.addRequest(r)
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
	defer serve(listener, withControl(ld), screen).Close()

	cfg, environ, err := settings(sys.environ, brokers, address)
	if err != nil {
		return err
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(deadLetters))
	if err != nil {
		return err
	}
	defer kafka.Close()

	d := &demo{
		options: o, group: cfg.Kafka.Group, backoff: cfg.Delivery.BackoffMax, environ: environ,
		screen: screen, ledger: ledger, ld: ld, samples: samples, outage: outage, kafka: kafka, admin: kadm.NewClient(kafka),
		view:      view{launchDarkly: address, kafka: strings.Join(brokers, ",")},
		generator: &generator{brokers: brokers, topic: topic, events: o.events, rate: o.rate, expect: ledger.expect},
	}
	return d.run(sys)
}

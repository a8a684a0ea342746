package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

const (
	busyTopic  = "bench"
	idleTopic  = "bench-idle" // contains no records
	partitions = 6            // per topic
)

// bench holds the state of a measurement.
type bench struct {
	*options
	ctx      context.Context // kills the child processes when done
	progress io.Writer
	self     string // path of this binary

	brokers  []string
	receiver *child
	settings map[string]string // environment variables of the floor and the forwarder
	expected tally
}

// run runs a measurement and returns the results.
func run(ctx context.Context, o *options, progress io.Writer) (r *results, err error) {
	dir, err := os.MkdirTemp("", "segment-to-launchdarkly-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bench{options: o, ctx: ctx, progress: progress}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}

	b.say("starting")
	broker, err := b.start(b.self, roleBroker, map[string]string{dataDir: dir})
	if err != nil {
		return nil, err
	}
	defer broker.stop()
	if b.receiver, err = b.start(b.self, roleReceiver, nil); err != nil {
		return nil, err
	}
	defer b.receiver.stop()
	if err := b.prepare(broker); err != nil {
		return nil, err
	}
	b.say("producing %d records", b.records)
	var valueBytes int64
	if b.expected, valueBytes, err = b.load(ctx); err != nil {
		return nil, err
	}
	contenders := b.contenders()
	r = newResults(o, contenders, b.expected, valueBytes)
	b.say("idle runs")
	for _, c := range contenders {
		x, err := c.run(c, idleTopic, "idle")
		if err != nil {
			return nil, err
		}
		r.addIdle(c, x)
	}
	for round := range b.rounds {
		b.say("round %d of %d", round+1, b.rounds)
		results := map[string]result{}
		for _, c := range contenders {
			if results[c.name], err = c.run(c, busyTopic, strconv.Itoa(round+1)); err != nil {
				return nil, err
			}
		}
		r.add(results)
	}
	return r, nil
}

func (b *bench) say(format string, a ...any) { fmt.Fprintf(b.progress, "bench: "+format+"\n", a...) }

// prepare asks the broker and the receiver for their addresses and creates the topics.
func (b *bench) prepare(broker *child) error {
	if err := broker.ask("addresses", &b.brokers); err != nil {
		return err
	}
	var address string
	if err := b.receiver.ask("address", &address); err != nil {
		return err
	}
	b.settings = map[string]string{
		"S2LD_KAFKA_BROKERS":               strings.Join(b.brokers, ","),
		"S2LD_LAUNCHDARKLY_EVENTS_URL":     address,
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID": "0123456789abcdef01234567",
		"S2LD_ADMIN_LISTEN":                "127.0.0.1:0",
	}
	for _, topic := range []string{busyTopic, idleTopic} {
		if err := kafkatest.CreateTopic(b.ctx, b.brokers, topic, partitions, nil); err != nil {
			return err
		}
	}
	return nil
}

// start starts a role in a child process. The given variables override the inherited environment.
func (b *bench) start(binary, role string, over map[string]string, flags ...string) (*child, error) {
	return start(b.ctx, binary, role, environ(over), append(flags, "-records", strconv.Itoa(b.records))...)
}

// startMember starts a role that joins a consumer group. Idle runs are not profiled.
func (b *bench) startMember(binary, role, topic, group string) (*child, error) {
	b.settings["S2LD_KAFKA_TOPICS"], b.settings["S2LD_KAFKA_GROUP"] = topic, group
	if topic == idleTopic {
		return b.start(binary, role, b.settings)
	}
	return b.start(binary, role, b.settings, "-pprof", b.pprof)
}

// environ returns this process's environment variables, overridden by the given ones.
func environ(over map[string]string) (all []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if _, ok := over[name]; !ok {
			all = append(all, variable)
		}
	}
	for name, value := range over {
		all = append(all, name+"="+value)
	}
	return all
}

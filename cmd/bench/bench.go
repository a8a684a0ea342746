package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const partitions = 6 // partitions per topic, except in measurements of memory

// bench holds the state of a measurement.
type bench struct {
	*options
	ctx      context.Context // kills the child processes when done
	progress io.Writer
	self     string // path of this binary

	brokers    []string
	receiver   *child
	settings   map[string]string // environment variables of the floor and the forwarder
	contenders []contender
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
	broker, err := b.start(b.self, roleBroker, map[string]string{dataDir: dir}, "-apache="+strconv.FormatBool(o.apache))
	if err != nil {
		return nil, err
	}
	defer broker.stop()
	if b.receiver, err = b.start(b.self, roleReceiver, nil); err != nil {
		return nil, err
	}
	defer b.receiver.stop()
	if err := b.connect(broker); err != nil {
		return nil, err
	}
	b.contenders = b.allContenders()
	if r, err = b.throughput(); err != nil || !o.all {
		return r, err
	}
	if r.Memory, err = b.memory(); err != nil {
		return r, err
	}
	r.Rates, err = b.rates()
	return r, err
}

func (b *bench) say(format string, a ...any) { fmt.Fprintf(b.progress, "bench: "+format+"\n", a...) }

// connect asks the broker and the receiver for their addresses.
func (b *bench) connect(broker *child) error {
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
	return nil
}

// throughput measures how much CPU, memory, and time it takes to deliver a topic.
func (b *bench) throughput() (*results, error) {
	b.say("producing %d records", b.records)
	idle, err := b.produce("bench-idle", partitions, 0)
	if err != nil {
		return nil, err
	}
	busy, err := b.produce("bench", partitions, b.records)
	if err != nil {
		return nil, err
	}
	r := newResults(b.options, b.contenders, busy)
	b.say("idle runs")
	for _, c := range b.contenders {
		x, err := c.run(c, idle, "idle")
		if err != nil {
			return nil, err
		}
		r.addIdle(c, x)
	}
	var mappers []mapped
	for round := range b.rounds {
		b.say("round %d of %d", round+1, b.rounds)
		results := map[string]result{}
		for _, c := range b.contenders {
			if results[c.name], err = c.run(c, busy, strconv.Itoa(round+1)); err != nil {
				return nil, err
			}
		}
		r.add(results)
		if b.all {
			m, err := b.mapper()
			if err != nil {
				return nil, err
			}
			mappers = append(mappers, m)
		}
	}
	if b.all {
		r.addParts(mappers)
	}
	return r, nil
}

// start starts a role in a child process. The given variables override the inherited environment.
func (b *bench) start(binary, role string, over map[string]string, flags ...string) (*child, error) {
	return start(b.ctx, binary, role, environ(over), flags...)
}

// startMember starts a role that joins a consumer group. Idle runs are not profiled.
func (b *bench) startMember(binary, role string, t *topic, group string) (*child, error) {
	b.settings["S2LD_KAFKA_TOPICS"], b.settings["S2LD_KAFKA_GROUP"] = t.name, group
	flags := []string{"-records", strconv.Itoa(max(t.records, 1))}
	if t.records > 0 {
		flags = append(flags, "-pprof", b.pprof)
	}
	return b.start(binary, role, b.settings, flags...)
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

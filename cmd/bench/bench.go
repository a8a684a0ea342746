package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// bench is one measurement.
type bench struct {
	*options
	ctx      context.Context
	progress io.Writer
	atEnd    []func() // run in reverse order

	settings  map[string]string // environment variables of the roles
	brokers   []string
	kafka     []kgo.Opt
	topic     string
	idleTopic string // has as many partitions and no records
	receiver  *child
	expected  tally
	self      string // path of this program
}

// run runs one measurement.
func run(ctx context.Context, o *options, progress io.Writer) (r *results, err error) {
	dir, err := os.MkdirTemp("", "segment-to-launchdarkly-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx) // kills the roles that still run
	defer cancel()
	name := "bench-" + strconv.FormatInt(time.Now().UnixMilli(), 36)
	b := &bench{options: o, ctx: ctx, progress: progress, topic: name, idleTopic: name + "-idle"}
	defer b.end()
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}

	b.say("starting")
	if err := b.startAround(filepath.Join(dir, "kafka")); err != nil {
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
		x, err := c.run(c, b.idleTopic, "idle")
		if err != nil {
			return nil, err
		}
		r.addIdle(c, x)
	}
	for round := range b.rounds {
		b.say("round %d of %d", round+1, b.rounds)
		results := map[string]result{}
		for _, c := range contenders {
			if results[c.name], err = c.run(c, b.topic, strconv.Itoa(round+1)); err != nil {
				return nil, err
			}
		}
		r.add(results)
	}
	return r, nil
}

func (b *bench) say(format string, a ...any) { fmt.Fprintf(b.progress, "bench: "+format+"\n", a...) }

// startAround starts the broker and the receiver, and creates the topics.
func (b *bench) startAround(dir string) (err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if b.brokers = strings.Split(b.options.brokers, ","); b.options.brokers == "" {
		if b.brokers, err = b.startBrokers(dir); err != nil {
			return err
		}
	}
	if b.receiver, err = b.start(b.self, roleReceiver, nil, ""); err != nil {
		return err
	}
	var address string
	if err := b.receiver.ask("address", &address); err != nil {
		return err
	}
	b.settings = map[string]string{
		"S2LD_KAFKA_BROKERS":               strings.Join(b.brokers, ","),
		"S2LD_KAFKA_TOPICS":                b.topic,
		"S2LD_KAFKA_GROUP":                 b.topic,
		"S2LD_LAUNCHDARKLY_EVENTS_URL":     address,
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID": "0123456789abcdef01234567",
		"S2LD_BATCH_GZIP":                  strconv.FormatBool(b.gzip),
		"S2LD_ADMIN_LISTEN":                "127.0.0.1:0",
	}
	cfg, err := config.Load("", environ(b.settings))
	if err != nil {
		return err
	}
	if b.kafka, err = cfg.KafkaOptions(); err != nil {
		return err
	}
	for _, topic := range []string{b.topic, b.idleTopic} {
		if err := kafkatest.CreateTopic(b.ctx, b.brokers, topic, int32(b.partitions+b.idle), nil, b.kafka...); err != nil {
			return err
		}
	}
	b.atEnd = append(b.atEnd, b.deleteTopics)
	return nil
}

// deleteTopics deletes the topics. Kafka deletes groups without members and offsets by itself.
func (b *bench) deleteTopics() {
	client, err := kgo.NewClient(b.kafka...)
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(client).DeleteTopics(ctx, b.topic, b.idleTopic); err != nil {
		b.say("could not delete topics %s and %s: %v", b.topic, b.idleTopic, err)
	}
}

// start starts a role, which is stopped at the end of the measurement. The variables in over
// override those of this process. profiles is the directory for profiles, or empty for none.
func (b *bench) start(binary, role string, over map[string]string, profiles string) (*child, error) {
	c, err := start(b.ctx, binary, role, environ(over),
		"-records", strconv.Itoa(b.records), "-latency", b.latency.String(), "-pprof", profiles)
	if err != nil {
		return nil, err
	}
	b.atEnd = append(b.atEnd, func() { c.stop() })
	return c, nil
}

func (b *bench) end() {
	for _, end := range slices.Backward(b.atEnd) {
		end()
	}
}

// environ returns the variables of this process, overridden by those in over.
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

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// bench is one measurement.
type bench struct {
	*options
	ctx      context.Context
	progress io.Writer
	atEnd    []func() // in reverse order

	settings  map[string]string // variables of the roles
	brokers   []string
	kafka     []kgo.Opt
	topic     string
	idleTopic string // of as many partitions, without records
	receiver  *child
	expected  tally
	self      string // the path of this program
}

// result is what one run of a role has used and done.
type result struct {
	usage
	received
	perSecond float64 // records
	lost      int64
}

// run measures.
func run(ctx context.Context, o *options, progress io.Writer) (r *results, err error) {
	dir, err := os.MkdirTemp("", "segment-to-launchdarkly-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx) // kills what is left of the roles
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

// contender is what takes its turn in each round.
type contender struct {
	name   string
	binary string // of bench
	run    func(c contender, topic, run string) (result, error)
}

func (b *bench) contenders() []contender {
	all := []contender{{roleFloor, b.self, b.floor}, {roleForwarder, b.self, b.forwarder}}
	if b.against != "" {
		all = append(all, contender{"against", b.against, b.forwarder})
	}
	return all
}

func (b *bench) say(format string, a ...any) { fmt.Fprintf(b.progress, "bench: "+format+"\n", a...) }

// startAround starts what is around the floor and the forwarder, and creates the topics.
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

// deleteTopics leaves a real Kafka as it was; groups without members and offsets go by themselves.
func (b *bench) deleteTopics() {
	client, err := kgo.NewClient(b.kafka...)
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(client).DeleteTopics(ctx, b.topic, b.idleTopic); err != nil {
		b.say("topics %s and %s are left over: %v", b.topic, b.idleTopic, err)
	}
}

// start starts a role that ends with the measurement at the latest. over are its variables over the user's, profiles is the
// directory for its profiles, if any.
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

// environ returns the variables of this process, with others over them.
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

// startMember starts a role that joins a group. Idle runs are not profiled.
func (b *bench) startMember(binary, role, topic, group string) (*child, error) {
	b.settings["S2LD_KAFKA_TOPICS"], b.settings["S2LD_KAFKA_GROUP"] = topic, group
	if topic == b.idleTopic {
		return b.start(binary, role, b.settings, "")
	}
	return b.start(binary, role, b.settings, b.pprof)
}

// group names the group of a run.
func (b *bench) group(x contender, run string) string { return b.topic + "-" + x.name + "-" + run }

// floor runs the floor once.
func (b *bench) floor(x contender, topic, run string) (r result, err error) {
	c, err := b.startMember(x.binary, roleFloor, topic, b.group(x, run))
	if err != nil {
		return r, err
	}
	if topic == b.idleTopic {
		if err := c.ask("joined", nil); err != nil {
			return r, err
		}
		time.Sleep(b.rest)
	} else if err := c.ask("all", nil); err != nil {
		return r, err
	}
	var f floored
	if err := c.ask("end", &f); err != nil {
		return r, err
	}
	r.usage, r.perSecond = f.usage, f.PerSecond
	r.CPU = c.stop()
	return r, nil
}

// forwarder runs the forwarder once, in all of its replicas.
func (b *bench) forwarder(x contender, topic, run string) (r result, err error) {
	group := b.group(x, run)
	replicas := make([]*child, b.replicas)
	for i := range replicas {
		if replicas[i], err = b.startMember(x.binary, roleForwarder, topic, group); err != nil {
			return r, err
		}
	}
	if topic == b.idleTopic {
		if err := b.joined(group); err != nil {
			return r, err
		}
		time.Sleep(b.rest)
	} else if err := b.taken(replicas); err != nil {
		return r, err
	}

	usages, errs := make([]usage, len(replicas)), make([]error, len(replicas))
	var ending sync.WaitGroup
	for i, c := range replicas {
		ending.Go(func() {
			errs[i] = c.ask("end", &usages[i])
			usages[i].CPU = c.stop()
		})
	}
	ending.Wait()
	for i := range replicas {
		if errs[i] != nil {
			return r, errs[i]
		}
		r.usage.add(usages[i])
	}
	if err := b.receiver.ask("report", &r.received); err != nil {
		return r, err
	}
	if topic == b.idleTopic {
		return r, nil
	}
	r.perSecond = r.received.PerSecond * float64(b.records) / float64(b.expected.Events)
	uncommitted, err := b.uncommitted(group)
	r.lost = b.expected.missing(r.tally) + uncommitted
	return r, err
}

// joined waits until the group has all partitions of the idle topic: their starts are committed then. It asks the broker,
// because an answer would cost the forwarder something.
func (b *bench) joined(group string) error {
	for since := time.Now(); time.Since(since) < stuck; time.Sleep(look) {
		committed, err := kafkatest.Committed(b.ctx, b.brokers, group, b.kafka...)
		switch {
		case errors.Is(err, kerr.GroupIDNotFound): // nobody has asked to join it yet
		case err != nil, len(committed[b.idleTopic]) == b.partitions+b.idle:
			return err
		}
	}
	return fmt.Errorf("group %s has not got its partitions within %v", group, stuck)
}

const (
	look  = 50 * time.Millisecond  // how often to look whether requests arrive
	quiet = 300 * time.Millisecond // without one, beside the latency: it may be the end
	stuck = 2 * time.Minute        // without one: it will not end

	profileLook = 10 // at which of those with requests to profile the heap: much goes on then
)

// taken waits until the replicas have taken all records and posted what was full. It asks the replicas themselves only
// when no more requests arrive.
func (b *bench) taken(replicas []*child) error {
	looks := 0 // with requests
	for last, since := 0, time.Now(); ; {
		time.Sleep(look)
		var requests int
		if err := b.receiver.ask("requests", &requests); err != nil {
			return err
		}
		if requests > 0 {
			looks++
		}
		if b.pprof != "" && looks == profileLook {
			if err := replicas[0].ask("heap", nil); err != nil {
				return err
			}
		}
		if requests > last {
			last, since = requests, time.Now()
		}
		switch silence := time.Since(since); {
		case requests == 0 && silence < stuck, silence < quiet+2*b.latency:
			continue
		case silence >= stuck:
			return fmt.Errorf("no request for %v", stuck)
		}
		all := 0.0
		for _, c := range replicas {
			var taken float64
			if err := c.ask("taken", &taken); err != nil {
				return err
			}
			all += taken
		}
		if int(all) >= b.records {
			return nil
		}
	}
}

// uncommitted returns how many records the group has not committed, or has committed without their being there.
func (b *bench) uncommitted(group string) (n int64, err error) {
	committed, err := kafkatest.Committed(b.ctx, b.brokers, group, b.kafka...)
	if err != nil {
		return 0, err
	}
	ends, err := kafkatest.EndOffsets(b.ctx, b.brokers, b.topic, b.kafka...)
	for partition, end := range ends {
		o, _ := committed.Lookup(b.topic, partition)
		n += max(end-o.At, o.At-end)
	}
	return n, err
}

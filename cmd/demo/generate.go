package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// generator produces records with Segment events to a topic.
type generator struct {
	brokers []string
	topic   string
	events  int64   // number of records to produce; 0 means no limit
	rate    float64 // records per second; 0 means as fast as possible

	expect func(calls []transform.Reason) // called before each record is produced; may be nil

	produced atomic.Int64 // records acknowledged by the broker
	last     atomic.Int64 // Unix time of the latest acknowledgment, in seconds
}

// run produces the records and waits until all are acknowledged. When ctx is done, run stops
// producing and waits at most ackTimeout for the records in flight.
func (g *generator) run(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(g.brokers...), kgo.DefaultProduceTopic(g.topic),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MetadataMinAge(time.Second)) // to report a missing topic within seconds
	if err != nil {
		return err
	}
	defer client.Close()

	failed, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(ackTimeout):
			fail(errors.New("the broker did not acknowledge the last records"))
		case <-failed.Done(): // a record failed, or run has returned
		}
	})()
	acknowledged := func(_ *kgo.Record, err error) {
		if err != nil {
			fail(fmt.Errorf("produce to %s: %w", g.topic, err))
			return
		}
		g.produced.Add(1)
		g.last.Store(time.Now().Unix())
	}
	events := segmenttest.New(seed)
	started := time.Now()
	for n := int64(0); (g.events == 0 || n < g.events) && g.wait(ctx, failed, started, n); n++ {
		value, calls := events.Record(n)
		if g.expect != nil {
			g.expect(calls)
		}
		client.Produce(failed, &kgo.Record{Value: slices.Clone(value)}, acknowledged)
	}
	_ = client.Flush(failed) // returns an error only after fail has been called
	return context.Cause(failed)
}

// wait waits until record n is due and reports whether to produce the record.
func (g *generator) wait(ctx, failed context.Context, started time.Time, n int64) bool {
	if g.rate > 0 {
		due := started.Add(time.Duration(float64(n) / g.rate * float64(time.Second)))
		if early := time.Until(due); early > time.Millisecond {
			select {
			case <-time.After(early):
			case <-ctx.Done():
			case <-failed.Done():
			}
		}
	}
	return ctx.Err() == nil && failed.Err() == nil
}

// ackTimeout is how long run waits for acknowledgments after ctx is done. It is also the time
// without an acknowledgment after which health fails.
const ackTimeout = 10 * time.Second

// health responds with 503 if the time since the latest acknowledgment exceeds ackTimeout.
func (g *generator) health(w http.ResponseWriter, _ *http.Request) {
	if time.Since(time.Unix(g.last.Load(), 0)) > ackTimeout {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, "produced %d\n", g.produced.Load())
}

func runGenerate(args []string, sys system) error {
	const usage = "Demo generate produces mixed Segment events to an existing topic until it receives a signal."
	f := newFlags("demo generate", usage, sys)
	g := &generator{}
	brokers := f.String("brokers", "localhost:9092", "bootstrap `addresses`, separated by commas")
	f.StringVar(&g.topic, "topic", "segment", "`name` of the topic")
	f.Float64Var(&g.rate, "rate", 1000, "`records` to produce per second. 0 means as many as possible")
	listen := f.String("listen", "localhost:8081", "`address` of an HTTP health check, "+
		"which fails while the broker acknowledges no records")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	g.brokers = strings.Split(*brokers, ",")

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	defer serve(listener, http.HandlerFunc(g.health), sys.stderr).Close()
	ctx, cancel := untilSignal(sys.signals)
	defer cancel()
	return g.run(ctx)
}

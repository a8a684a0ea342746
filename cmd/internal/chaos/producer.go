//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// value is the record of that number. One in twenty is large, so that some batches exceed LaunchDarkly's limit.
func value(number int) []byte {
	name, call, pad, extra := `"event":"e",`, "track", "", ""
	switch KindOf(number) {
	case Filtered:
		call = "page"
	case Rejected:
		name = ""
	case Poisoned:
		extra = "," + poison
	}
	if number%20 == 3 {
		pad = fmt.Sprintf(`,"pad":%q`, strings.Repeat("x", 3000))
	}
	return fmt.Appendf(nil, `{"type":%q,%s"userId":"u%d","timestamp":"2026-01-02T03:04:05Z","properties":{"n":%d,"value":1.5%s%s}}`,
		call, name, number%97, number, extra, pad)
}

// producer produces numbered records at a steady rate, each acknowledged by all replicas.
type producer struct {
	client *kgo.Client
	topic  string

	mu       sync.Mutex
	produced []Record // guards
	sent     int      // guards
	events   int      // guards: thereof to be delivered
	err      error    // guards: the first
}

func newProducer(brokers []string, topic string) (*producer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, fmt.Errorf("producer: %w", err)
	}
	return &producer{client: client, topic: topic}, nil
}

// run produces about rate records a second until ctx is done, and returns when each is acknowledged.
func (p *producer) run(ctx context.Context, rate int) {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	started := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			if err := p.client.Flush(context.WithoutCancel(ctx)); err != nil {
				p.noteError(err)
			}
			p.client.Close()
			return
		case <-tick.C:
		}
		for due := int(time.Since(started).Seconds() * float64(rate)); n < due; n++ {
			p.produce(n)
		}
	}
}

func (p *producer) produce(number int) {
	p.mu.Lock()
	p.sent++
	if KindOf(number) == Delivered {
		p.events++
	}
	p.mu.Unlock()
	r := &kgo.Record{Partition: rand.Int32N(partitions), Value: value(number)}
	p.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if err != nil {
			p.noteError(fmt.Errorf("record %d is not acknowledged: %w", number, err))
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.produced = append(p.produced, Record{Number: number, Partition: r.Partition, Offset: r.Offset, Sent: r.Timestamp, Acked: time.Now()})
	})
}

func (p *producer) noteError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// result returns what was produced, and how many of it are events to be delivered.
func (p *producer) result() ([]Record, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.produced, p.events, p.err
}

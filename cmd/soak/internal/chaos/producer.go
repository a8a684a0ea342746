//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// value returns the value of the record with the given number. One value in twenty is large, so
// that some batches exceed LaunchDarkly's size limit.
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
	return fmt.Appendf(nil,
		`{"type":%q,%s"userId":"u%d","timestamp":"2026-01-02T03:04:05Z","properties":{"n":%d,"value":1.5%s%s}}`,
		call, name, number%97, number, extra, pad)
}

// producer writes numbered records to one topic and requires acknowledgment by all in-sync
// replicas.
type producer struct {
	client     *kgo.Client
	first      int          // number of the first record
	partitions atomic.Int32 // number of partitions in use

	producing sync.Mutex // held during production, and from hold to resume

	mu       sync.Mutex // guards the fields below
	produced []Record   // acknowledged records
	sent     int
	events   int   // number of sent events that must be delivered
	err      error // first error
}

func newProducer(brokers []string, topic string, first int, partitions int32) (*producer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("create the producer: %w", err)
	}
	p := &producer{client: client, first: first}
	p.partitions.Store(partitions)
	return p, nil
}

// bursts is the period of the production rate. In each period, the rate rises from a tenth of the
// mean to almost twice the mean and falls again.
const bursts = 20 * time.Second

// run produces records at the given average rate per second until ctx is done. It returns when all
// records are acknowledged.
func (p *producer) run(ctx context.Context, rate int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	defer p.client.Close()
	started := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			p.flush()
			return
		case <-tick.C:
		}
		p.producing.Lock()
		phase := 2 * math.Pi * time.Since(started).Seconds() / bursts.Seconds()
		for due := int(float64(rate) * (phase - 0.9*math.Sin(phase)) / (2 * math.Pi) * bursts.Seconds()); n < due; n++ {
			p.produce(p.first + n)
		}
		p.producing.Unlock()
	}
}

// hold pauses production until resume is called. It returns when all records are acknowledged.
func (p *producer) hold() {
	p.producing.Lock()
	p.flush()
}

// grow adds partitions to those in use. It first waits until the client knows the new partitions.
func (p *producer) grow(ctx context.Context, topic string, more int32) error {
	for last := p.partitions.Load() + more - 1; ; pause(ctx, 50*time.Millisecond) {
		p.client.ForceMetadataRefresh()
		if leader, _, err := p.client.PartitionLeader(topic, last); err == nil && leader >= 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	p.partitions.Add(more)
	return nil
}

func (p *producer) resume() { p.producing.Unlock() }

func (p *producer) flush() {
	if err := p.client.Flush(context.Background()); err != nil {
		p.noteError(err)
	}
}

func (p *producer) produce(number int) {
	p.mu.Lock()
	p.sent++
	if KindOf(number) == Delivered {
		p.events++
	}
	p.mu.Unlock()
	r := &kgo.Record{Partition: rand.Int32N(p.partitions.Load()), Value: value(number)}
	p.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if err != nil {
			p.noteError(fmt.Errorf("produce record %d: %w", number, err))
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.produced = append(p.produced, Record{
			Number: number, Partition: r.Partition, Offset: r.Offset, Sent: r.Timestamp, Acked: time.Now(),
		})
	})
}

func (p *producer) noteError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// result returns the acknowledged records, the number of events that must be delivered, and the
// first error.
func (p *producer) result() ([]Record, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.produced, p.events, p.err
}

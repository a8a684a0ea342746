//go:build linux

package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// sampler asks again and again what a group has committed.
type sampler struct {
	mu      sync.Mutex
	samples []sample // guards: those that differ from the one before
	err     error    // guards: the first
}

// sample is what was committed for a topic at a time.
type sample struct {
	Commit
	topic string
}

// sampleEvery is the time between two samples.
const sampleEvery = 75 * time.Millisecond

// run samples until ctx is done. What a cluster that changes cannot answer is left out.
func (s *sampler) run(ctx context.Context, brokers []string, group string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		s.note("", Commit{}, err)
		return
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	last := map[string]map[int32]kadm.Offset{}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		askCtx, cancel := context.WithTimeout(ctx, time.Second)
		offsets, err := admin.FetchOffsets(askCtx, group)
		cancel()
		if err != nil || offsets.Error() != nil {
			continue
		}
		now := time.Now()
		offsets.Offsets().Each(func(o kadm.Offset) {
			if o.At < 0 || last[o.Topic][o.Partition] == o {
				return
			}
			if last[o.Topic] == nil {
				last[o.Topic] = map[int32]kadm.Offset{}
			}
			last[o.Topic][o.Partition] = o
			c, err := newCommit(now, o.Partition, o.At, o.Metadata)
			s.note(o.Topic, c, err)
		})
	}
}

func (s *sampler) note(topic string, c Commit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.samples = append(s.samples, sample{c, topic})
}

// result returns the samples so far.
func (s *sampler) result() ([]sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples, s.err
}

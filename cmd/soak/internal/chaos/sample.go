//go:build linux

package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// sampler periodically fetches a group's committed offsets.
type sampler struct {
	mu      sync.Mutex // guards the fields below
	samples []sample   // only samples that differ from the partition's previous one
	err     error      // first error
}

// sample is a partition's committed offset as fetched from the broker, with its topic.
type sample struct {
	Commit
	topic string
}

// sampleInterval is the time between two samples.
const sampleInterval = 75 * time.Millisecond

// run takes samples until ctx is done. It ignores failed requests, because brokers may be down.
func (s *sampler) run(ctx context.Context, brokers []string, group string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		s.record("", Commit{}, err)
		return
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	last := map[string]map[int32]kadm.Offset{}
	tick := time.NewTicker(sampleInterval)
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
			s.record(o.Topic, c, err)
		})
	}
}

func (s *sampler) record(topic string, c Commit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.samples = append(s.samples, sample{c, topic})
}

// result returns the samples taken so far and the first error.
func (s *sampler) result() ([]sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples, s.err
}

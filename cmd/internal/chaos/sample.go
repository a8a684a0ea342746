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
	samples []Commit // guards: those that differ from the one before
	err     error    // guards: the first
}

// sampleEvery is the time between two samples.
const sampleEvery = 75 * time.Millisecond

// run samples until ctx is done. What a cluster that changes cannot answer is left out.
func (s *sampler) run(ctx context.Context, brokers []string, group string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		s.note(Commit{}, err)
		return
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	last := map[int32]kadm.Offset{}
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
			if o.At < 0 || last[o.Partition] == o {
				return
			}
			last[o.Partition] = o
			s.note(newCommit(now, o.Partition, o.At, o.Metadata))
		})
	}
}

func (s *sampler) note(c Commit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.samples = append(s.samples, c)
}

// result returns the samples so far.
func (s *sampler) result() ([]Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples, s.err
}

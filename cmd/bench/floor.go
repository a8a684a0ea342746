package main

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// floored is the floor's report at the end of a run.
type floored struct {
	usage
	Records   int     // records fetched
	PerSecond float64 // records per second after the first poll
}

// runFloor runs a consumer group that fetches and discards records, with the forwarder's fetch sizes
// and memory pools.
func runFloor(o *options, stdin io.Reader, stdout io.Writer) error {
	cfg, err := config.Load("", os.Environ())
	if err != nil {
		return err
	}
	kafka, err := cfg.KafkaOptions()
	if err != nil {
		return err
	}
	joined := make(chan struct{})
	join := sync.OnceFunc(func() { close(joined) })
	client, err := kgo.NewClient(slices.Concat(kafka, consumer.ReaderOptions(), []kgo.Opt{
		kgo.ConsumeTopics(cfg.Kafka.Topics...), kgo.ConsumerGroup(cfg.Kafka.Group), kgo.DisableAutoCommit(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { join() }),
	})...)
	if err != nil {
		return err
	}
	stopProfile, err := profile(o, cfg)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var f floored
	all, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var first time.Time
		before := 0 // records in the first poll
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			n := 0 // without control records
			fetches.EachRecord(func(r *kgo.Record) {
				if !r.Attrs.IsControl() {
					n++
				}
				r.Recycle()
			})
			if n == 0 {
				continue
			}
			now := time.Now()
			if f.Records == 0 {
				first, before = now, n
			}
			if f.Records += n; f.Records > before {
				f.PerSecond = float64(f.Records-before) / now.Sub(first).Seconds()
			}
			if f.Records == o.records {
				close(all)
			}
		}
	}()
	return obey(stdin, stdout, map[string]func() (any, error){
		"joined": func() (any, error) { <-joined; return nil, nil },
		"all":    func() (any, error) { <-all; return nil, nil },
		"end": func() (any, error) {
			cancel()
			<-done
			client.CloseAllowingRebalance()
			stopProfile()
			f.usage = used()
			return f, nil
		},
	})
}

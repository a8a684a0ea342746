//go:build linux

package chaos

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// check gathers the evidence and has it checked.
func (r *run) check(ctx context.Context) error {
	e := &Evidence{Gone: r.gone, Clean: r.cfg.Clean}
	var err error
	if e.Produced, _, err = r.producer.result(); err != nil {
		return err
	}
	brokers := r.cfg.Cluster.Brokers()
	if e.Commits, err = r.cfg.Cluster.Commits(ctx, r.cfg.Name, r.cfg.Name); err != nil {
		return err
	}
	if e.Samples, err = r.samples.result(); err != nil {
		return err
	}
	if len(e.Commits) == 0 || len(e.Samples) == 0 {
		return fmt.Errorf("%d commits and %d samples seen: nothing can be checked", len(e.Commits), len(e.Samples))
	}
	letters, err := kafkatest.ReadAll(ctx, brokers, r.letters)
	if err != nil {
		return err
	}
	for _, l := range letters {
		e.Letters = append(e.Letters, newLetter(l))
	}
	ends, err := kafkatest.EndOffsets(ctx, brokers, r.cfg.Name)
	if err != nil {
		return err
	}
	final, err := kafkatest.Committed(ctx, brokers, r.cfg.Name)
	if err != nil {
		return err
	}
	for p := range int32(partitions) {
		o, _ := final.Lookup(r.cfg.Name, p)
		e.Ends, e.Final = append(e.Ends, ends[p]), append(e.Final, o.At)
	}
	r.ld.mu.Lock()
	e.Requests = r.ld.requests
	r.ld.mu.Unlock()
	r.report.add(e, r.ld.Report())
	return r.network.seen.report(r.report)
}

// newLetter reads where a dead letter comes from, as its headers say.
func newLetter(r *kgo.Record) Letter {
	l := Letter{Time: r.Timestamp, Partition: -1, Offset: -1}
	for _, h := range r.Headers {
		switch n, _ := strconv.ParseInt(string(h.Value), 10, 64); h.Key {
		case "s2ld.partition":
			l.Partition = int32(n)
		case "s2ld.offset":
			l.Offset = n
		case "s2ld.reason":
			l.Reason = string(h.Value)
		}
	}
	return l
}

package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// contender is a role that runs once per round.
type contender struct {
	name   string
	binary string // path of a build of bench
	run    func(c contender, topic, run string) (result, error)
}

// result is the resource usage and the outcome of one run of a role.
type result struct {
	usage
	received
	perSecond float64 // records per second
	lost      int64   // events and records that were lost or surplus
}

func (b *bench) contenders() []contender {
	all := []contender{{roleFloor, b.self, b.floor}, {roleForwarder, b.self, b.forwarder}}
	if b.against != "" {
		all = append(all, contender{"against", b.against, b.forwarder})
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

// group returns the name of the group of a run.
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

// forwarder runs the forwarder once, with all its replicas.
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

// joined waits until the group owns all partitions of the idle topic, whose start offsets are
// committed then. It asks the broker, because asking the forwarder would cost CPU there.
func (b *bench) joined(group string) error {
	for since := time.Now(); time.Since(since) < stuck; time.Sleep(pollInterval) {
		committed, err := kafkatest.Committed(b.ctx, b.brokers, group, b.kafka...)
		switch {
		case errors.Is(err, kerr.GroupIDNotFound): // no member has joined yet
		case err != nil, len(committed[b.idleTopic]) == b.partitions+b.idle:
			return err
		}
	}
	return fmt.Errorf("group %s did not acquire its partitions within %v", group, stuck)
}

const (
	pollInterval = 50 * time.Millisecond  // between checks for new requests
	quiet        = 300 * time.Millisecond // without requests, in addition to the latency, before the replicas are asked
	stuck        = 2 * time.Minute        // without requests before the run fails

	profilePoll = 10 // number of the check that profiles the heap, under full load
)

// taken waits until the replicas have read all records and sent all full batches. It asks the
// replicas only when no more requests arrive.
func (b *bench) taken(replicas []*child) error {
	polls := 0 // checks with requests
	for last, since := 0, time.Now(); ; {
		time.Sleep(pollInterval)
		var requests int
		if err := b.receiver.ask("requests", &requests); err != nil {
			return err
		}
		if requests > 0 {
			polls++
		}
		if b.pprof != "" && polls == profilePoll {
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

// uncommitted returns how many records the group has not committed, or has committed beyond the end
// offset.
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

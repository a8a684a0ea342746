package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// contender is a role in one build of bench, and is measured once per round.
type contender struct {
	name   string
	binary string // path of the bench binary
	run    func(c contender, t *topic, run string) (result, error)
}

// result holds a contender's resource usage and outcome in one run.
type result struct {
	usage
	received
	perSecond float64 // records per second
	lost      int64   // missing and surplus events, plus uncommitted records
}

func (b *bench) allContenders() []contender {
	all := []contender{{roleFloor, b.self, b.floor}, {roleForwarder, b.self, b.forwarder}}
	if b.against != "" {
		all = append(all, contender{"against", b.against, b.forwarder})
	}
	return all
}

const (
	idleTime     = time.Second            // duration of an idle run after joining the group
	pollInterval = 50 * time.Millisecond  // time between progress checks
	quiet        = 300 * time.Millisecond // time without requests before asking whether a run is complete
	stuck        = 2 * time.Minute        // time without progress before a run fails
)

// floor runs the floor once and returns the result.
func (b *bench) floor(x contender, t *topic, run string) (r result, err error) {
	c, err := b.startMember(x.binary, roleFloor, t, group(x, run))
	if err != nil {
		return r, err
	}
	if t.records == 0 {
		if err := c.ask("joined", nil); err != nil {
			return r, err
		}
		time.Sleep(idleTime)
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

// forwarder runs the forwarder once and returns the result.
func (b *bench) forwarder(x contender, t *topic, run string) (r result, err error) {
	group := group(x, run)
	c, err := b.startMember(x.binary, roleForwarder, t, group)
	if err != nil {
		return r, err
	}
	if t.records == 0 {
		if err := b.awaitJoined(group, t); err != nil {
			return r, err
		}
		time.Sleep(idleTime)
	} else if err := b.awaitSent(c, t); err != nil {
		return r, err
	}
	if err := c.ask("end", &r.usage); err != nil {
		return r, err
	}
	r.CPU = c.stop()
	if err := b.receiver.ask("report", &r.received); err != nil {
		return r, err
	}
	if t.records == 0 {
		return r, nil
	}
	r.perSecond = r.received.PerSecond * float64(t.records) / float64(t.expected.Events)
	uncommitted, err := b.uncommitted(group, t)
	r.lost = t.expected.missing(r.tally) + uncommitted
	return r, err
}

// group returns the consumer group name for a run.
func group(x contender, run string) string { return "bench-" + x.name + "-" + run }

// awaitJoined waits until the forwarder has joined the group and committed the start offset of
// every partition. It asks the broker instead of the forwarder, because each reply would
// cost the forwarder CPU time.
func (b *bench) awaitJoined(group string, t *topic) error {
	for since := time.Now(); time.Since(since) < stuck; time.Sleep(pollInterval) {
		committed, err := kafkatest.Committed(b.ctx, b.brokers, group)
		switch {
		case errors.Is(err, kerr.GroupIDNotFound): // no member has joined yet
		case err != nil, len(committed[t.name]) == t.partitions:
			return err
		}
	}
	return fmt.Errorf("group %s did not acquire its partitions within %v", group, stuck)
}

// awaitSent waits until the forwarder has mapped all records and sent all full batches. It asks the
// forwarder only after requests have stopped arriving.
func (b *bench) awaitSent(forwarder *child, t *topic) error {
	for last, since := 0, time.Now(); ; {
		time.Sleep(pollInterval)
		var requests, mapped int
		if err := b.receiver.ask("requests", &requests); err != nil {
			return err
		}
		if requests > last {
			last, since = requests, time.Now()
		}
		switch silence := time.Since(since); {
		case silence >= stuck:
			return fmt.Errorf("no request for %v", stuck)
		case requests == 0 || silence < quiet:
			continue
		}
		if err := forwarder.ask("taken", &mapped); err != nil {
			return err
		}
		if mapped >= t.records {
			return nil
		}
	}
}

// uncommitted returns the absolute difference between committed and end offset, summed over all
// partitions.
func (b *bench) uncommitted(group string, t *topic) (n int64, err error) {
	committed, err := kafkatest.Committed(b.ctx, b.brokers, group)
	if err != nil {
		return 0, err
	}
	ends, err := kafkatest.EndOffsets(b.ctx, b.brokers, t.name)
	for partition, end := range ends {
		o, _ := committed.Lookup(t.name, partition)
		n += max(end-o.At, o.At-end)
	}
	return n, err
}

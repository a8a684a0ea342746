//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// grow adds partitions to the main topic. Once all brokers know the new partitions, it makes the
// producer use them.
func (r *run) grow(ctx context.Context) error {
	const more = 2
	p := r.ledgers[0].producer
	added, err := r.admin.CreatePartitions(ctx, more, r.cfg.Name)
	if err = errors.Join(err, added.Error()); err != nil {
		return err
	}
	if err := r.awaitBrokers(ctx); err != nil {
		return err
	}
	return p.grow(ctx, r.cfg.Name, more)
}

// awaitBrokers waits until the brokers are ready. Brokers that cannot be killed are always ready.
func (r *run) awaitBrokers(ctx context.Context) error {
	if cluster, ok := r.cfg.Cluster.(breakable); ok {
		return cluster.Ready(ctx)
	}
	return nil
}

// trim deletes all committed records from the main topic, as retention would.
func (r *run) trim(ctx context.Context) error {
	committed, err := kafkatest.Committed(ctx, r.cfg.Cluster.Brokers(), r.cfg.Name)
	if err != nil {
		return err
	}
	before := kadm.Offsets{}
	committed.Each(func(o kadm.Offset) {
		if o.Topic == r.cfg.Name && o.At > 0 {
			before.AddOffset(o.Topic, o.Partition, o.At, -1)
		}
	})
	ctx, cancel := context.WithTimeout(ctx, trimTimeout)
	defer cancel()
	if _, err := r.admin.DeleteRecords(ctx, before); err != nil && len(r.down) == 0 {
		return err
	}
	return nil
}

// trimTimeout bounds a request to delete records. Without this bound, the client would retry for
// minutes if the leader of a partition is down.
const trimTimeout = 10 * time.Second

// trimAhead stops delivery with a LaunchDarkly outage and then deletes the older half of one
// partition's uncommitted records, as if the retention time were too short.
func (r *run) trimAhead(ctx context.Context, s Step) error {
	r.ld.Down(ldtest.Fault{Status: 503})
	defer r.ld.Up()
	pause(ctx, s.For)
	l, partition := r.current(TrimAhead), int32(s.Target)
	committed, err := kafkatest.Committed(ctx, r.cfg.Cluster.Brokers(), r.cfg.Name)
	if err != nil {
		return err
	}
	ends, err := kafkatest.EndOffsets(ctx, r.cfg.Cluster.Brokers(), l.topic)
	if err != nil {
		return err
	}
	at, _ := committed.Lookup(l.topic, partition)
	next := at.At + (ends[partition]-at.At+1)/2
	if next <= 0 {
		return nil
	}
	before := kadm.Offsets{}
	before.AddOffset(l.topic, partition, next, -1)
	l.trims = append(l.trims, trim{time.Now(), partition, next})
	if _, err := r.admin.DeleteRecords(ctx, before); err != nil {
		return err
	}
	if s.Fire { // the new owner then finds a log that starts beyond the committed offset
		m := r.members[len(r.members)-1]
		r.remove(len(r.members) - 1)
		_ = m.stopWith(syscall.SIGKILL, time.Minute)
		return r.join(m.instance)
	}
	return nil
}

// electUnclean makes a lagging replica the leader of one partition of the Unclean topic. It pauses
// the follower until the leader is the only in-sync replica, kills the leader, and resumes the
// follower. electUnclean does nothing if the cluster is embedded, a broker is down, or each
// partition has already had such an election.
func (r *run) electUnclean(ctx context.Context, s Step) error {
	cluster, ok := r.cfg.Cluster.(Apache)
	l, partition := r.current(Unclean), int32(-1)
	for p := range int32(sidePartitions) {
		if _, done := l.unclean[p]; !done {
			partition = p
			break
		}
	}
	if !ok || partition < 0 || len(r.down) > 0 {
		return nil
	}
	leader, err := cluster.Leader(ctx, l.topic, partition)
	if err != nil {
		return err
	}
	lagging := (int(partition) + 1) % clusterSize
	if leader == lagging {
		lagging = int(partition)
	}
	r.beginOutage()
	if err := cluster.Pause(lagging); err != nil {
		return err
	}
	err = r.awaitPartition(ctx, l.topic, partition, func(p kadm.PartitionDetail) bool { return len(p.ISR) == 1 })
	if err == nil {
		pause(ctx, s.For)
		l.producer.hold() // all records in the old log must be acknowledged first
		defer l.producer.resume()
		l.unclean[partition] = time.Now()
		err = cluster.Kill(leader)
	}
	if err := errors.Join(err, cluster.Continue(lagging)); err != nil {
		return err
	}
	r.down = append(r.down, leader)
	err = r.awaitPartition(ctx, l.topic, partition, func(p kadm.PartitionDetail) bool { return int(p.Leader) == lagging })
	return errors.Join(err, r.restartBrokers(ctx))
}

// awaitPartition waits until the given function returns true for a partition's metadata.
func (r *run) awaitPartition(ctx context.Context, topic string, partition int32,
	reached func(kadm.PartitionDetail) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		askCtx, cancel := context.WithTimeout(ctx, 2*time.Second)
		topics, err := r.admin.ListTopics(askCtx, topic)
		cancel()
		if err == nil && reached(topics[topic].Partitions[partition]) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for topic %s, partition %d: %w", topic, partition, ctx.Err())
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// recreate deletes and recreates the Recreate topic.
func (r *run) recreate(ctx context.Context) error {
	l := r.current(Recreate)
	l.stopProducing()
	l.deleted = time.Now()
	if _, err := r.admin.DeleteTopic(ctx, l.topic); err != nil {
		return err
	}
	for {
		topics, err := r.admin.ListTopics(ctx, l.topic)
		if err == nil && !topics.Has(l.topic) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause(ctx, 50*time.Millisecond)
	}
	return r.openLedger(ctx, Recreate)
}

// resetOffsets makes all members leave, sets the group's offsets for the Reset topic, and starts
// the same number of new members. Production to the topic is paused meanwhile.
func (r *run) resetOffsets(ctx context.Context, s Step) error {
	l := r.current(Reset)
	l.producer.hold()
	defer l.producer.resume()
	r.stopFaults()
	defer r.startFaults()
	count := len(r.members)
	for len(r.members) > 0 {
		r.leave(0)
	}
	if err := r.awaitEmpty(ctx); err != nil {
		return err
	}
	brokers := r.cfg.Cluster.Brokers()
	committed, err := kafkatest.Committed(ctx, brokers, r.cfg.Name)
	if err != nil {
		return err
	}
	ends, err := kafkatest.EndOffsets(ctx, brokers, l.topic)
	if err != nil {
		return err
	}
	change, to := reset{from: map[int32]int64{}, to: map[int32]int64{}}, kadm.Offsets{}
	for partition, end := range ends {
		if at, ok := committed.Lookup(l.topic, partition); ok {
			change.to[partition] = at.At
		}
		offset := map[string]int64{earliest: 0, beyond: end + 1000, middle: end / 2}[s.To]
		if offset <= end { // no entry for an offset beyond the end: start_at (earliest) applies
			change.from[partition] = offset
		}
		to.AddOffset(l.topic, partition, offset, -1)
	}
	pause(ctx, 10*time.Millisecond) // times are compared in whole milliseconds
	change.time = time.Now()
	pause(ctx, 10*time.Millisecond)
	altered, err := r.admin.CommitOffsets(ctx, r.cfg.Name, to)
	if err = errors.Join(err, altered.Error()); err != nil {
		return fmt.Errorf("set offsets: %w", err)
	}
	l.resets = append(l.resets, change)
	for range count {
		if err := r.join(""); err != nil {
			return err
		}
	}
	r.awaitStable(ctx)
	return nil
}

// These are the values of Step.To.
const (
	earliest = "earliest"
	middle   = "middle"
	beyond   = "beyond the end"
)

// awaitEmpty waits until the group has no members, not even static ones, and all connections are
// closed.
func (r *run) awaitEmpty(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		state, members := r.describeGroup(ctx, r.admin)
		if state == "Empty" && members == 0 && !r.network.busy() {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for an empty group (state %q, %d members): %w", state, members, ctx.Err())
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// bounce stops and immediately restarts a static member.
func (r *run) bounce(s Step) error {
	m := r.members[s.Target]
	if s.Fire {
		_ = m.stopWith(syscall.SIGKILL, time.Minute)
		r.remove(s.Target)
	} else {
		r.leave(s.Target)
	}
	return r.join(m.instance)
}

// twin starts a second member with a static member's instance ID. The coordinator must fence one of
// the two members, which may then exit. This is not checked during or soon after a broker outage.
// Afterwards, twin stops one member and keeps the other.
func (r *run) twin(ctx context.Context, s Step) error {
	elder := r.members[s.Target]
	if elder.instance == "" { // not a static member
		return nil
	}
	before := r.network.seen.fenced()
	younger, err := r.startMember(elder.instance)
	if err != nil {
		return err
	}
	pause(ctx, s.For)
	fenced := r.network.seen.fenced() - before
	if r.report.Fenced += fenced; fenced == 0 && len(r.down) == 0 && time.Since(r.restored) > leaveLimit {
		r.report.addBroken("not fenced: neither %s nor %s, which have the same instance ID", elder.name, younger.name)
	}
	leaver, stayer := younger, elder
	if s.Fire || elder.hasExited() {
		leaver, stayer = elder, younger
	}
	r.members = append(slices.Delete(r.members, s.Target, s.Target+1), stayer)
	if err := leaver.stopWith(syscall.SIGTERM, leaveLimit); err != nil {
		r.report.addBroken("did not leave: %v\n%s", err, leaver.logTail())
	} else if leaver.code != 0 {
		r.report.Excused++
	}
	r.recordMemory(leaver)
	return nil
}

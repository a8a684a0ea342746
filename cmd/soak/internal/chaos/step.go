//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// runStep executes one step of the plan.
func (r *run) runStep(ctx context.Context, s Step) error {
	r.report.Steps[s.Do]++
	if s.onMember() {
		if len(r.members) == 0 { // all exited unexpectedly, as already reported
			return nil
		}
		s.Target %= len(r.members)
	}
	switch s.Do {
	case Join:
		instance := ""
		if s.Static {
			instance = fmt.Sprintf("instance-%d", r.started+1)
		}
		if err := r.join(instance); err != nil {
			return err
		}
	case Leave:
		r.leave(s.Target)
	case Kill:
		r.disrupt(ctx, s, func(m *member) {
			_ = m.stopWith(syscall.SIGKILL, time.Minute)
			if m.code != -1 {
				r.report.addBroken("%s exited unexpectedly with code %d\n%s", m.name, m.code, m.logTail())
			}
			r.remove(s.Target)
		})
		return nil
	case Freeze:
		m := r.members[s.Target]
		r.disrupt(ctx, s, func(*member) { m.signal(syscall.SIGSTOP) })
		m.signal(syscall.SIGCONT)
		m.thawed = time.Now()
		return nil
	case Cut, Block, Slow, Late:
		r.disturb(ctx, s)
		return nil
	case Bounce:
		if err := r.bounce(s); err != nil {
			return err
		}
	case Twin:
		return r.twin(ctx, s)
	case Grow:
		if err := r.grow(ctx); err != nil {
			return err
		}
	case Trim:
		if err := r.trim(ctx); err != nil {
			return err
		}
	case TrimAhead:
		return r.trimAhead(ctx, s)
	case Unclean:
		return r.electUnclean(ctx, s)
	case Recreate:
		if err := r.recreate(ctx); err != nil {
			return err
		}
	case Reset:
		return r.resetOffsets(ctx, s)
	case Outage:
		r.ld.Down(s.Fault)
		defer r.ld.Up()
	case MoveLeader:
		if _, err := r.cfg.Cluster.MoveLeader(ctx, r.cfg.Name, int32(s.Target)); err != nil && len(r.down) == 0 {
			return err
		}
	case KillBroker, KillCoordinator:
		if err := r.killBroker(ctx, s); err != nil {
			return err
		}
	case RestartBrokers:
		if err := r.restartBrokers(ctx); err != nil {
			return err
		}
	}
	pause(ctx, s.For)
	return nil
}

// disturb applies a network fault to one member for the step's duration.
func (r *run) disturb(ctx context.Context, s Step) {
	w := r.members[s.Target].wire
	links := w.links[:len(w.links)-1]
	switch n := len(links); {
	case s.Link == n:
		links = w.links[n:]
	case s.Link < n:
		links = links[s.Link : s.Link+1]
	}
	for _, l := range links {
		switch s.Do {
		case Cut:
			l.cut()
		case Block:
			l.block(s.Up, s.Down)
		case Slow:
			l.setDelay(s.By)
		case Late:
			l.arm(1)
		}
	}
	pause(ctx, s.For)
	for _, l := range links {
		if s.Do == Block && s.Cut {
			l.cut()
		}
		l.heal()
	}
}

// disrupt kills or freezes a member by calling the function do, and then waits. If Step.Fire is
// set, random faults stay active. Otherwise, disrupt pauses random faults meanwhile. If all brokers
// are up, the group is complete, stable, and caught up with the producer, and other members remain,
// disrupt also records the absence, so that the checker judges the takeover.
func (r *run) disrupt(ctx context.Context, s Step, do func(*member)) {
	if s.Fire {
		do(r.members[s.Target])
		pause(ctx, s.For+100*time.Millisecond)
		return
	}
	r.stopFaults()
	pause(ctx, 500*time.Millisecond) // long enough for requests to be in flight again
	judge := len(r.down) == 0 && r.awaitCaughtUp(ctx) && r.awaitStable(ctx)
	from := time.Now()
	do(r.members[s.Target])
	if judge && len(r.members) > 0 {
		r.gone = append(r.gone, Absence{From: from, Deadline: from.Add(r.cfg.Session + takeover)})
	}
	pause(ctx, s.For+100*time.Millisecond)
	r.startFaults()
}

// awaitCaughtUp waits until the backlog is at most two seconds of production, and returns true. It
// returns false after 10 seconds.
func (r *run) awaitCaughtUp(ctx context.Context) bool {
	for range 100 {
		if r.backlog() <= 2*r.cfg.Rate {
			return true
		}
		pause(ctx, 100*time.Millisecond)
	}
	return false
}

// backlog returns the number of undelivered events in the main topic.
func (r *run) backlog() int {
	_, events, _ := r.ledgers[0].producer.result()
	counted, _ := r.ld.progress()
	return events - counted
}

// awaitStable waits until the group is stable and contains every member, and returns true. It
// returns false after 10 seconds.
func (r *run) awaitStable(ctx context.Context) bool {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.cfg.Cluster.Brokers()...))
	if err != nil {
		return false
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	admin := kadm.NewClient(client)
	for seen := 0; seen < 3; pause(ctx, 100*time.Millisecond) {
		if state, members := r.describeGroup(ctx, admin); state == "Stable" && members == len(r.members) {
			seen++
		} else {
			seen = 0
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// describeGroup returns the group's state and number of members. The state is "" if it is
// unavailable.
func (r *run) describeGroup(ctx context.Context, admin *kadm.Client) (state string, members int) {
	if r.cfg.Protocol == "consumer" {
		groups, _ := admin.DescribeConsumerGroups(ctx, r.cfg.Name)
		return groups[r.cfg.Name].State, len(groups[r.cfg.Name].Members)
	}
	groups, _ := admin.DescribeGroups(ctx, r.cfg.Name)
	return groups[r.cfg.Name].State, len(groups[r.cfg.Name].Members)
}

// startFaults makes random requests to LaunchDarkly fail and random commits arrive late. In a clean
// run, it only makes responses slow.
func (r *run) startFaults() {
	if r.cfg.Clean {
		r.ld.Random(r.cfg.Seed, 1, slowResponses...)
		return
	}
	r.network.late.Store(uint64(r.cfg.Late * 1_000_000))
	r.ld.Random(r.cfg.Seed+uint64(r.started), r.cfg.Faults, randomFaults...)
}

// stopFaults stops random faults and random late commits. LaunchDarkly then only responds slowly.
func (r *run) stopFaults() {
	r.network.late.Store(0)
	r.ld.Random(r.cfg.Seed, 1, slowResponses...)
}

// join starts a member. instance is its instance ID, or "" if the member is not static. Consecutive
// members have different batch sizes.
func (r *run) join(instance string) error {
	m, err := r.startMember(instance)
	if err == nil {
		r.members = append(r.members, m)
	}
	return err
}

func (r *run) startMember(instance string) (*member, error) {
	r.started++
	name := fmt.Sprintf("%s-member-%d", r.cfg.Name, r.started)
	wire, err := r.network.attach(name, r.cfg.Cluster.Brokers())
	if err != nil {
		return nil, err
	}
	environ := append([]string{
		"S2LD_KAFKA_BROKERS=" + strings.Join(wire.brokers(), ","), "S2LD_KAFKA_TOPICS=" + strings.Join(r.topics(), ","),
		"S2LD_KAFKA_GROUP=" + r.cfg.Name,
		"S2LD_KAFKA_REBALANCE_PROTOCOL=" + r.cfg.Protocol, "S2LD_KAFKA_SESSION_TIMEOUT=" + r.cfg.Session.String(),
		"S2LD_LAUNCHDARKLY_EVENTS_URL=http://launchdarkly.test", "HTTP_PROXY=http://" + wire.launchDarkly(),
		"S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
		"S2LD_BATCH_MAX_EVENTS=" + strconv.Itoa(30+20*(r.started%3)), "S2LD_BATCH_MAX_AGE=300ms",
		"S2LD_DELIVERY_TIMEOUT=2s", "S2LD_DELIVERY_BACKOFF_MIN=50ms", "S2LD_DELIVERY_BACKOFF_MAX=1s",
		"S2LD_DELIVERY_MAX_BUFFERED=" + strconv.Itoa(buffered>>20) + "MiB",
		"S2LD_DEAD_LETTERS_TOPIC=" + r.letters, "S2LD_ADMIN_LISTEN=127.0.0.1:0",
		"S2LD_KAFKA_INSTANCE_ID=" + instance,
	}, r.cfg.Settings...)
	m, err := startMember(r.cfg.Dir, name, r.cfg.Binary, environ)
	if err == nil {
		m.wire, m.instance = wire, instance
	}
	return m, err
}

// leave stops a member with SIGTERM. The member must exit with code 0. Code 1 is allowed if the
// member might have been unable to deliver or commit everything: with a backlog, during or soon
// after a broker outage, or soon after a freeze or a network fault.
func (r *run) leave(i int) {
	m := r.members[i]
	r.remove(i)
	behind := !r.cfg.Clean && r.backlog() > 2*r.cfg.Rate
	m.awaitRunning()
	started := time.Now()
	if err := m.stopWith(syscall.SIGTERM, leaveLimit); err != nil {
		r.report.addBroken("did not leave: %v\n%s", err, m.logTail())
	} else if m.code == 1 && (behind || len(r.down) > 0 || time.Since(r.restored) <= leaveLimit ||
		time.Since(m.thawed) <= leaveLimit || time.Since(m.wire.lastFault()) <= leaveLimit) {
		r.report.Excused++
	} else if m.code != 0 {
		r.report.addBroken("exit code: %d from %s after SIGTERM\n%s", m.code, m.name, m.logTail())
	}
	r.report.LongestLeave = max(r.report.LongestLeave, time.Since(started))
	r.recordMemory(m)
}

// remove removes a member that has exited or is about to exit from r.members, and records the
// member's peak memory.
func (r *run) remove(i int) {
	r.recordMemory(r.members[i])
	r.members = slices.Delete(r.members, i, i+1)
}

// recordMemory records and checks a member's peak memory.
func (r *run) recordMemory(m *member) {
	r.report.PeakBytes = max(r.report.PeakBytes, m.peakBytes())
	if m.peakBytes() > peakLimit {
		r.report.addBroken("memory: %s used %d MiB, limit %d MiB", m.name, m.peakBytes()>>20, peakLimit>>20)
	}
}

// removeExited reports and removes members that have exited unexpectedly.
func (r *run) removeExited() {
	for i, m := range slices.Backward(r.members) {
		if m.hasExited() {
			r.report.addBroken("%s exited unexpectedly with code %d\n%s", m.name, m.code, m.logTail())
			r.remove(i)
		}
	}
}

func (r *run) killBroker(ctx context.Context, s Step) error {
	cluster, ok := r.cfg.Cluster.(breakable)
	if !ok {
		return errors.New("kill broker: not supported by this cluster")
	}
	broker := s.Target
	if s.Do == KillCoordinator {
		var err error
		if broker, err = cluster.Coordinator(ctx, r.cfg.Name); err != nil {
			return err
		}
	}
	r.beginOutage()
	r.down = append(r.down, broker)
	return cluster.Kill(broker)
}

// beginOutage records the begin of an outage unless one has not ended yet.
func (r *run) beginOutage() {
	if n := len(r.outages); n == 0 || !r.outages[n-1].To.IsZero() {
		r.outages = append(r.outages, BrokerOutage{From: time.Now()})
	}
}

// restartBrokers starts the killed brokers and waits until all replicas are in sync.
func (r *run) restartBrokers(ctx context.Context) error {
	for _, broker := range r.down {
		cluster := r.cfg.Cluster.(breakable)
		if err := errors.Join(cluster.Start(broker), cluster.Ready(ctx)); err != nil {
			return err
		}
	}
	if len(r.down) > 0 {
		r.restored = time.Now()
		r.outages[len(r.outages)-1].To = r.restored
	}
	r.down = nil
	return nil
}

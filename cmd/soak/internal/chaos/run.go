//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// Config configures a run. All fields without a stated default are required.
type Config struct {
	// Binary is the path of the program; see [Build].
	Binary string
	// Cluster is the Kafka cluster.
	Cluster Cluster
	// Dir is the directory for the members' logs and LaunchDarkly's journal.
	Dir string
	// Name is the name of both the group and the main topic. It must be unique within the cluster.
	Name string
	// Protocol is the group protocol, classic or consumer.
	Protocol string
	// Session is the group's session timeout.
	Session time.Duration
	// Plan lists the steps to execute.
	Plan []Step
	// Clean declares that the plan has only clean joins and leaves. LaunchDarkly then fails no
	// requests, and the checks are stricter.
	Clean bool
	// Seed is the seed for random faults.
	Seed uint64
	// Rate is the average number of records produced to the main topic per second.
	Rate int
	// Faults is the fraction of requests to LaunchDarkly that fail. It is ignored if Clean is set.
	Faults float64
	// Late is the fraction of offset commits that arrive late, in addition to those in the plan. It
	// is ignored if Clean is set.
	Late float64
	// Settings holds additional environment variables for the members, such as
	// S2LD_DELIVERY_DRAIN_TIMEOUT=1s. Empty means none.
	Settings []string
	// Settle bounds the wait for the last deliveries. Zero means two minutes.
	Settle time.Duration

	// Logf logs each step as it happens.
	Logf func(format string, args ...any)
}

const (
	leaveLimit = 45 * time.Second  // default drain timeout (20s), 22s for the rest of the stop, and a margin
	buffered   = 8 << 20           // the members' delivery.max_buffered
	peakLimit  = buffered + 64<<20 // the soft limit on a member's memory, which does not include the executable
)

// run holds the state between the start and the end of Run. The goroutine that calls Run owns all
// fields except those safe for concurrent use.
type run struct {
	cfg      Config
	letters  string // dead-letter topic
	ld       *launchDarkly
	network  *network
	ledgers  []*ledger // main topic first
	admin    *kadm.Client
	position Position // end of the log of offset commits before the run
	samples  sampler
	members  []*member      // running members, oldest first
	started  int            // members started so far
	down     []int          // killed brokers not yet restarted
	outages  []BrokerOutage // the last one has no end while a broker is down
	restored time.Time      // when the brokers were last restarted
	gone     []Absence
	report   *Report
}

// Run executes the plan, waits until all events are delivered, makes all members leave, and checks
// the evidence. Report.Broken lists failures of the program under test. An error means that the run
// itself failed.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Settle == 0 {
		cfg.Settle = 2 * time.Minute
	}
	r := &run{cfg: cfg, letters: cfg.Name + "-dead", report: NewReport()}
	journal, err := os.Create(filepath.Join(cfg.Dir, cfg.Name+"-journal.jsonl"))
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	var network *network
	owner := func(remote string) string {
		name, _ := network.owners.Load(remote)
		member, _ := name.(string)
		return member
	}
	if r.ld, err = newLaunchDarkly(journal, owner); err != nil {
		return nil, err
	}
	defer r.ld.server.Close()
	network = newNetwork(cfg.Seed, strings.TrimPrefix(r.ld.url, "http://"), cfg.Logf)
	r.network = network
	defer network.close()
	defer func() {
		for _, m := range r.members {
			_ = m.stopWith(syscall.SIGKILL, time.Minute) // needed only after an error
		}
	}()
	if err := r.execute(ctx); err != nil {
		return nil, fmt.Errorf("run %s, seed %d: %w", cfg.Name, cfg.Seed, err)
	}
	return r.report, nil
}

// execute performs the run, from creating topics to checking the evidence.
func (r *run) execute(ctx context.Context) error {
	brokers := r.cfg.Cluster.Brokers()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	r.admin = kadm.NewClient(client)
	if r.position, err = r.cfg.Cluster.Position(ctx); err != nil {
		return err
	}
	// A dead letter's timestamp must be its append time.
	if err := kafkatest.CreateTopic(ctx, brokers, r.letters, 1,
		map[string]string{"message.timestamp.type": "LogAppendTime"}); err != nil {
		return err
	}
	defer func() {
		for _, l := range r.ledgers {
			l.stopProducing()
		}
	}()
	if err := r.openLedger(ctx, ""); err != nil {
		return err
	}
	for _, role := range roles {
		if r.planned(role) {
			if err := r.openLedger(ctx, role); err != nil {
				return err
			}
		}
	}
	background, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { r.samples.run(background, brokers, r.cfg.Name) })
	defer running.Wait()
	defer stop()

	r.startFaults()
	started := time.Now()
	for _, s := range r.cfg.Plan {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.cfg.Logf("%s %6.1fs %v", r.cfg.Name, time.Since(started).Seconds(), s)
		if err := r.runStep(ctx, s); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		r.removeExited()
	}
	if err := r.restartBrokers(ctx); err != nil {
		return err
	}
	r.stopFaults()
	for _, l := range r.ledgers {
		l.stopProducing()
	}
	r.settle(ctx)
	r.removeExited()
	for len(r.members) > 0 {
		r.leave(0)
	}
	r.report.Duration = time.Since(started)
	return r.check(ctx)
}

// settle waits until all events of the main topic are delivered and all topics are committed to the
// end. If Config.Settle passes first, settle reports a broken invariant.
func (r *run) settle(ctx context.Context) {
	_, events, _ := r.ledgers[0].producer.result()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Settle)
	defer cancel()
	for {
		counted, more := r.ld.progress()
		if counted >= events {
			break
		}
		select {
		case <-more:
		case <-ctx.Done():
			r.report.addBroken("not settled: %d of %d events delivered %v after the last record was produced",
				counted, events, r.cfg.Settle)
			return
		}
	}
	for behind := "offsets unknown"; behind != ""; {
		pause(ctx, 200*time.Millisecond)
		behind = r.behind(ctx)
		if ctx.Err() != nil {
			r.report.addBroken("not settled: %s", behind)
			return
		}
	}
}

// behind describes a partition whose committed offset is below its end offset, or an error in
// fetching the offsets. It returns "" if there is neither.
func (r *run) behind(ctx context.Context) string {
	ends, err := r.admin.ListEndOffsets(ctx, r.topics()...)
	if err != nil {
		return err.Error()
	}
	committed, err := r.admin.FetchOffsets(ctx, r.cfg.Name)
	if err != nil {
		return err.Error()
	}
	behind := ""
	ends.Each(func(end kadm.ListedOffset) {
		at, _ := committed.Lookup(end.Topic, end.Partition)
		if end.Err != nil || at.At < end.Offset {
			behind = fmt.Sprintf("topic %s, partition %d: %d of %d committed", end.Topic, end.Partition, at.At, end.Offset)
		}
	})
	return behind
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

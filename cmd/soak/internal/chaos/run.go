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
	Binary   string  // of the program, see [Build]
	Cluster  Cluster //
	Dir      string  // for the members' logs and LaunchDarkly's journal
	Name     string  // of group and topic; a cluster takes each once
	Protocol string  // classic or consumer
	Session  time.Duration
	Plan     []Step
	Clean    bool          // the plan has only clean changes, and LaunchDarkly does not fail
	Seed     uint64        // of LaunchDarkly's faults
	Rate     int           // records a second
	Faults   float64       // share of requests that LaunchDarkly fails; 0 if Clean
	Late     float64       // share of offset commits that arrive late, in addition to those of the plan; 0 if Clean
	Settings []string      // more environment for the members, such as S2LD_DELIVERY_DRAIN_TIMEOUT=1s
	Settle   time.Duration // how long to wait for the last deliveries; 0: two minutes

	Logf func(format string, args ...any) // what happens, as it happens
}

const (
	leaveLimit = 45 * time.Second  // delivery.drain_timeout (20s), the last commit (10s), leaving the group (10s), and some time
	buffered   = 8 << 20           // delivery.max_buffered of the members
	peakLimit  = buffered + 64<<20 // bound of a member's resident memory, as documented
)

// run is a run under way. Its fields belong to the goroutine of Run, unless they guard themselves.
type run struct {
	cfg      Config
	letters  string // topic
	ld       *launchDarkly
	network  *network
	ledgers  []*ledger // the main topic's is the first
	admin    *kadm.Client
	position Position // of the commits before the run
	samples  sampler
	members  []*member // that run, the oldest first
	started  int       // members so far
	down     []int     // brokers that were killed
	restored time.Time // when they were last back
	gone     []Absence
	report   *Report
}

// Run does what the plan says, waits until everything produced is delivered, has all members leave,
// and checks. The report's Broken says what is wrong with the program; an error, what kept the run
// from being one.
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
			_ = m.end(syscall.SIGKILL, time.Minute) // those that an error left behind
		}
	}()
	if err := r.all(ctx); err != nil {
		return nil, fmt.Errorf("run %s, seed %d: %w", cfg.Name, cfg.Seed, err)
	}
	return r.report, nil
}

// all is the run from the topics to the report.
func (r *run) all(ctx context.Context) error {
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
	// The dead letters' times are to be those at which they were written.
	if err := kafkatest.CreateTopic(ctx, brokers, r.letters, 1, map[string]string{"message.timestamp.type": "LogAppendTime"}); err != nil {
		return err
	}
	defer func() {
		for _, l := range r.ledgers {
			l.end()
		}
	}()
	if err := r.open(ctx, ""); err != nil {
		return err
	}
	for _, role := range roles {
		if r.planned(role) {
			if err := r.open(ctx, role); err != nil {
				return err
			}
		}
	}
	background, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { r.samples.run(background, brokers, r.cfg.Name) })
	defer running.Wait()
	defer stop()

	r.faults()
	started := time.Now()
	for _, s := range r.cfg.Plan {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.cfg.Logf("%s %6.1fs %v", r.cfg.Name, time.Since(started).Seconds(), s)
		if err := r.step(ctx, s); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		r.dead()
	}
	if err := r.restartBrokers(ctx); err != nil {
		return err
	}
	r.calm()
	for _, l := range r.ledgers {
		l.end()
	}
	r.settle(ctx)
	r.dead()
	for len(r.members) > 0 {
		r.leave(0)
	}
	r.report.Duration = time.Since(started)
	return r.check(ctx)
}

// settle waits until everything produced is delivered, or until waiting is in vain.
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
			r.report.tell("not settled: %d of %d events delivered %v after the last was produced", counted, events, r.cfg.Settle)
			return
		}
	}
	for behind := "nothing is known"; behind != ""; {
		pause(ctx, 200*time.Millisecond)
		behind = r.behind(ctx)
		if ctx.Err() != nil {
			r.report.tell("not settled: %s", behind)
			return
		}
	}
}

// behind describes a partition of which not everything is committed, if there is one.
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

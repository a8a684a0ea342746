package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// demo holds the demo's components and progress.
type demo struct {
	options
	group     string
	backoff   time.Duration // longest time between two attempts of a batch
	environ   []string      // settings of the replicas
	screen    *screen
	ledger    *ledger
	ld        *ldtest.Server
	samples   *sampler
	outage    *outage
	kafka     *kgo.Client // consumes the dead-letter topic
	admin     *kadm.Client
	generator *generator

	replicas []*replica // in the order in which they were started; includes killed replicas

	started time.Time
	view    view
	wrote   struct{ header, event, rejected bool } // parts of the view written without a terminal
	drawn   time.Time                              // when the live lines were last updated
	last    progress
	moved   time.Time // when the progress last changed
}

// progress counts delivered events, committed records, and produced records.
type progress struct {
	arrived   int64 // events counted by LaunchDarkly
	committed int64 // records committed
	end       int64 // records in the topic
}

// stuck is how long the demo waits without progress before it fails.
const stuck = time.Minute

// run runs the generator, the replicas, and the tour, shows their progress, and checks the result.
func (d *demo) run(sys system) error {
	d.started = time.Now()
	background, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	defer d.screen.show() // clears the live lines
	reading.Go(func() { d.samples.readRejected(background, d.kafka) })
	defer d.killReplicas()
	replicas := 1
	if d.tour {
		replicas = 2
	}
	for range replicas {
		if err := d.startReplica(); err != nil {
			return err
		}
	}
	generatorCtx, stopGenerator := context.WithCancel(background)
	defer stopGenerator()
	produced := make(chan error, 1)
	go func() { produced <- d.generator.run(generatorCtx) }()
	nextStep, stopTour := iter.Pull(d.runTour)
	defer stopTour()
	var tourErr error

	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	stopping, allProduced := false, false
	for {
		select {
		case <-sys.signals:
			if stopping {
				return errInterrupted
			}
			stopping = true
			stopTour()
			stopGenerator()
			fmt.Fprintln(d.screen, "stopping once everything is delivered; press Ctrl-C again to stop immediately")
		case err := <-produced:
			if err != nil {
				return err
			}
			allProduced = true
		case <-ticker.C:
			for _, r := range d.running() {
				select {
				case <-r.exited:
					return errors.Join(errors.New("the program exited early"), r.err)
				default:
				}
			}
			p, err := d.progress(background)
			if err != nil {
				return err
			}
			d.sample()
			d.draw(p)
			if err, more := nextStep(); err != nil {
				tourErr = err
			} else if d.tour && !more {
				stopGenerator()
			}
			idle := d.recordProgress(p)
			if !allProduced || p.committed < p.end && idle < stuck {
				continue
			}
			if p.committed < p.end {
				fmt.Fprintf(d.screen, "no progress for %v, stopping\n", stuck)
			}
			seconds := time.Since(d.started).Seconds()
			err = d.stopReplicas(sys.signals)
			if errors.Is(err, errInterrupted) {
				return err
			}
			d.screen.show()
			return errors.Join(err, tourErr, d.summarize(sys.stdout, seconds))
		}
	}
}

// pollInterval is how often the demo checks its progress.
const pollInterval = 200 * time.Millisecond

func (d *demo) startReplica() error {
	r, err := startReplica(d.environ, d.screen)
	if err == nil {
		d.replicas = append(d.replicas, r)
	}
	return err
}

// running returns the replicas that were not killed.
func (d *demo) running() (running []*replica) {
	for _, r := range d.replicas {
		if !r.killed {
			running = append(running, r)
		}
	}
	return running
}

// stopReplicas stops all replicas cleanly. It waits until all of them have exited or a signal
// arrives.
func (d *demo) stopReplicas(signals <-chan os.Signal) error {
	var errs []error
	for _, r := range d.running() {
		errs = append(errs, r.stdin.Close())
	}
	for _, r := range d.running() {
		select {
		case <-r.exited:
			errs = append(errs, r.err)
		case <-signals:
			return errInterrupted
		}
	}
	return errors.Join(errs...)
}

// killReplicas kills the replicas that are still running.
func (d *demo) killReplicas() {
	for _, r := range d.replicas {
		_ = r.cmd.Process.Kill() // fails if the process has exited
		<-r.exited
	}
}

// total adds up the counters of all replicas, and the batches and partitions of the running ones.
func (d *demo) total() (total replicaStatus) {
	for _, r := range d.replicas {
		s := r.status()
		total.Records += s.Records
		total.Retries += s.Retries
		for reason, calls := range s.Calls {
			total.Calls[reason] += calls
		}
		if !r.killed {
			total.Batches += s.Batches
			total.Partitions += s.Partitions
		}
	}
	return total
}

// sampleInterval is the minimum time for which a sample is shown.
const sampleInterval = 3 * time.Second

// sample replaces each sample at most once per sampleInterval, and only if there is a new one. The
// tour shows no samples, because it needs the space for its descriptions.
func (d *demo) sample() {
	if d.tour {
		return
	}
	for shown, picked := range map[*sample]<-chan sample{
		&d.view.event: d.samples.events, &d.view.rejected: d.samples.rejected,
	} {
		if time.Since(shown.since) < sampleInterval {
			continue
		}
		select {
		case *shown = <-picked:
			shown.since = time.Now()
		default:
		}
	}
}

// recordProgress stores p and returns the time since the progress last changed.
func (d *demo) recordProgress(p progress) (idle time.Duration) {
	if p != d.last {
		d.last, d.moved = p, time.Now()
	}
	return time.Since(d.moved)
}

// progress determines the current progress from the broker and the ledger.
func (d *demo) progress(ctx context.Context) (p progress, err error) {
	p.arrived = d.ledger.account().arrived
	offsets, err := d.admin.FetchOffsetsForTopics(ctx, d.group, topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // GroupIDNotFound: no member has joined yet
		return p, fmt.Errorf("fetch the committed offsets: %w", err)
	}
	ends, err := d.admin.ListEndOffsets(ctx, topic) // listed last, so that none is below the committed offset
	if err != nil {
		return p, fmt.Errorf("list the end offsets: %w", err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { p.committed += max(o.At, 0) })
	ends.Each(func(o kadm.ListedOffset) { p.end += o.Offset })
	return p, errors.Join(offsets.Error(), ends.Error())
}

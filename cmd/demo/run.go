package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// demo holds all parts of the demo.
type demo struct {
	options
	group     string
	screen    *screen
	ledger    *ledger
	ld        *ldtest.Server
	samples   <-chan sample
	program   *app.App
	kafka     *kadm.Client
	generator *generator

	started time.Time
	drawn   time.Time // when the counts were last shown
	last    progress
	moved   time.Time // when last was first seen
}

// progress is what Kafka and LaunchDarkly report.
type progress struct {
	arrived   int64 // events
	committed int64 // records
	end       int64 // records
}

// stuck is how long the demo waits without progress before it fails.
const stuck = time.Minute

// run produces records, shows progress, and writes the summary.
func (d *demo) run(sys system) error {
	d.started = time.Now()
	defer d.screen.show() // clears the live lines
	background := context.Background()
	programCtx, stopProgram := context.WithCancel(background)
	defer stopProgram()
	ended := make(chan error, 1)
	go func() { ended <- d.program.Run(programCtx) }()
	generatorCtx, stopGenerator := context.WithCancel(background)
	defer stopGenerator()
	produced := make(chan error, 1)
	go func() { produced <- d.generator.run(generatorCtx) }()

	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	stopping, all := false, false
	for {
		select {
		case <-sys.signals:
			if stopping {
				return errInterrupted
			}
			stopping = true
			stopGenerator()
			fmt.Fprintln(d.screen, "stopping after everything is delivered; press Ctrl-C again to stop immediately")
		case err := <-ended:
			return errors.Join(errors.New("the program stopped early"), err)
		case err := <-produced:
			if err != nil {
				return err
			}
			all = true
		case s := <-d.samples:
			fmt.Fprintln(d.screen, sideBySide(s.call, s.event, d.screen.width()))
		case <-ticker.C:
			p, err := d.progress(background)
			if err != nil {
				return err
			}
			d.draw(p)
			idle := d.idleFor(p)
			if !all || p.committed < p.end && idle < stuck {
				continue
			}
			if p.committed < p.end {
				fmt.Fprintf(d.screen, "no progress for %v, giving up\n", stuck)
			}
			seconds := time.Since(d.started).Seconds()
			stopProgram()
			err = <-ended
			d.screen.show()
			return errors.Join(err, d.judge(sys.stdout, seconds))
		}
	}
}

// pollInterval is how often the demo checks its progress.
const pollInterval = 200 * time.Millisecond

// idleFor updates the last progress, and returns how long ago it changed.
func (d *demo) idleFor(p progress) time.Duration {
	if p != d.last {
		d.last, d.moved = p, time.Now()
	}
	return time.Since(d.moved)
}

// progress queries Kafka and LaunchDarkly.
func (d *demo) progress(ctx context.Context) (p progress, err error) {
	p.arrived = d.ledger.account().arrived
	offsets, err := d.kafka.FetchOffsetsForTopics(ctx, d.group, topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // no member has joined yet
		return p, fmt.Errorf("committed offsets: %w", err)
	}
	ends, err := d.kafka.ListEndOffsets(ctx, topic) // listed after the commits, so it is never lower
	if err != nil {
		return p, fmt.Errorf("end offsets: %w", err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { p.committed += max(o.At, 0) })
	ends.Each(func(o kadm.ListedOffset) { p.end += o.Offset })
	return p, errors.Join(offsets.Error(), ends.Error())
}

// draw shows a progress bar if the number of records is known, and otherwise the program's
// counters.
func (d *demo) draw(p progress) {
	width := d.screen.width()
	if d.events > 0 {
		text := fmt.Sprintf(" %s of %s records committed, %s events delivered", number(p.committed), number(d.events), number(p.arrived))
		d.screen.show(bar(p.committed, d.events, min(max(width-len(text)-3, 10), 40)) + text)
		return
	}
	if time.Since(d.drawn) < time.Second {
		return
	}
	d.drawn = time.Now()
	c, err := readCounts(d.program.Gatherer())
	if err != nil {
		d.screen.show(err.Error())
		return
	}
	counted := fmt.Sprintf("consumed %s  rejected %s  delivered %s  requests %s, retries %s  lag %s", number(c.consumed),
		number(c.of(transform.Rejected)), number(c.delivered), number(c.requests), number(c.retries), number(p.end-p.committed))
	filtered := "filtered: " + c.reasons(transform.Filtered)
	if line := counted + "  " + filtered; len(line) < width {
		d.screen.show(line)
	} else {
		d.screen.show(counted, filtered)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// demo holds the demo's components and progress.
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
	drawn   time.Time // when the counters were last shown
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

// run runs the generator and the program, shows their progress, and checks the result.
func (d *demo) run(sys system) error {
	d.started = time.Now()
	defer d.screen.show() // clears the live lines
	background := context.Background()
	programCtx, stopProgram := context.WithCancel(background)
	defer stopProgram()
	exited := make(chan error, 1)
	go func() { exited <- d.program.Run(programCtx) }()
	generatorCtx, stopGenerator := context.WithCancel(background)
	defer stopGenerator()
	produced := make(chan error, 1)
	go func() { produced <- d.generator.run(generatorCtx) }()

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
			stopGenerator()
			fmt.Fprintln(d.screen, "stopping once everything is delivered; press Ctrl-C again to stop immediately")
		case err := <-exited:
			return errors.Join(errors.New("the program exited early"), err)
		case err := <-produced:
			if err != nil {
				return err
			}
			allProduced = true
		case s := <-d.samples:
			fmt.Fprintln(d.screen, preview.SideBySide("Segment call in the topic", s.call,
				"LaunchDarkly event as received", s.event, d.screen.width()))
		case <-ticker.C:
			p, err := d.progress(background)
			if err != nil {
				return err
			}
			d.draw(p)
			idle := d.recordProgress(p)
			if !allProduced || p.committed < p.end && idle < stuck {
				continue
			}
			if p.committed < p.end {
				fmt.Fprintf(d.screen, "no progress for %v, stopping\n", stuck)
			}
			seconds := time.Since(d.started).Seconds()
			stopProgram()
			err = <-exited
			d.screen.show()
			return errors.Join(err, d.summarize(sys.stdout, seconds))
		}
	}
}

// pollInterval is how often the demo checks its progress.
const pollInterval = 200 * time.Millisecond

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
	offsets, err := d.kafka.FetchOffsetsForTopics(ctx, d.group, topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // GroupIDNotFound: no member has joined yet
		return p, fmt.Errorf("fetch the committed offsets: %w", err)
	}
	ends, err := d.kafka.ListEndOffsets(ctx, topic) // listed last, so that none is below the committed offset
	if err != nil {
		return p, fmt.Errorf("list the end offsets: %w", err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { p.committed += max(o.At, 0) })
	ends.Each(func(o kadm.ListedOffset) { p.end += o.Offset })
	return p, errors.Join(offsets.Error(), ends.Error())
}

// draw shows a progress bar if the number of records is known. Otherwise, it shows the program's
// counters.
func (d *demo) draw(p progress) {
	width := d.screen.width()
	if d.events > 0 {
		text := fmt.Sprintf(" %s of %s records committed, %s events delivered",
			preview.Number(p.committed), preview.Number(d.events), preview.Number(p.arrived))
		d.screen.show(bar(p.committed, d.events, min(max(width-len(text)-3, 10), 40)) + text)
		return
	}
	if time.Since(d.drawn) < time.Second {
		return
	}
	d.drawn = time.Now()
	read, sent := d.program.Status()
	requests := int64(0)
	for _, n := range sent.Requests {
		requests += n
	}
	calls := callCounts(read.Calls)
	counted := fmt.Sprintf("consumed %s  rejected %s  delivered %s  requests %s, retries %s  lag %s",
		preview.Number(read.Records), preview.Number(calls.of(transform.Rejected)), preview.Number(sent.Delivered),
		preview.Number(requests), preview.Number(sent.Retries), preview.Number(p.end-p.committed))
	filtered := "filtered: " + calls.reasons(transform.Filtered)
	if line := counted + "  " + filtered; len(line) < width {
		d.screen.show(line)
	} else {
		d.screen.show(counted, filtered)
	}
}

package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// view contains the data that the live lines show.
type view struct {
	admin               []string // addresses of the running replicas' admin servers
	launchDarkly, kafka string   // addresses
	counters            string
	outage              []string // at most two lines; empty if there is none
	duplicates          int64

	// The samples are empty until the first ones are picked, and during the tour.
	event, rejected sample
}

// header returns the lines with the addresses, and with the command that starts or ends an outage.
func (v *view) header() []string {
	pages, metrics := make([]string, len(v.admin)), make([]string, len(v.admin))
	for i, address := range v.admin {
		pages[i], metrics[i] = "http://"+address+"/", "http://"+address+"/metrics"
	}
	control := v.launchDarkly + controlPath
	command := fmt.Sprintf("start outage  curl -X POST '%s/down?fault=503'", control)
	if len(v.outage) > 0 {
		command = fmt.Sprintf("end outage    curl -X POST %s/up", control)
	}
	return []string{
		"segment-to-launchdarkly runs between an embedded Kafka and a fake LaunchDarkly",
		"status page   " + strings.Join(pages, "  "),
		"metrics       " + strings.Join(metrics, "  "),
		fmt.Sprintf("LaunchDarkly  %s  Kafka %s, topic %s", v.launchDarkly, v.kafka, topic),
		command,
	}
}

// state describes the state of LaunchDarkly, and whether any event was counted twice.
func (v *view) state() []string {
	switch {
	case len(v.outage) > 0:
		return v.outage
	case v.duplicates > 0:
		return []string{fmt.Sprintf("WRONG: %s duplicate events were counted.", preview.Number(v.duplicates))}
	default:
		return []string{"LaunchDarkly is up. No event has been counted twice."}
	}
}

// lines returns the live lines for a terminal of the given size. It leaves one row above them for
// other output.
func (v *view) lines(width, height int) []string {
	lines := append(v.header(), "", v.counters)
	lines = append(lines, v.state()...)
	if v.event.call == nil {
		return lines
	}
	if len(v.outage) < 2 {
		lines = append(lines, "")
	}
	rejected := v.rejectedLines(width - 1)
	return append(append(lines, v.eventLines(width, height-1-len(lines)-len(rejected))...), rejected...)
}

// eventLines returns the call and its event side by side, and a last line that is empty or shows
// that more lines follow.
func (v *view) eventLines(width, height int) []string {
	text := preview.SideBySide("Segment call in the topic", v.event.call,
		"LaunchDarkly event as received", v.event.event, width)
	lines := strings.Split(text, "\n") // the last line is empty
	if len(lines) > 3 && strings.Trim(lines[1], " │") == "" {
		lines = append(lines[:1], lines[3:]...) // omit the empty line and the opening braces
	}
	if height < len(lines) {
		lines = append(lines[:max(height-1, 0)], "  …")
	}
	return lines
}

// rejectedLines returns the rejected call and the reason.
func (v *view) rejectedLines(width int) []string {
	if v.rejected.call == nil {
		return nil
	}
	call := v.rejected.call
	return []string{
		"Rejected call and its reason, now in dead-letter topic " + deadLetters,
		string(call[:min(len(call), width)]),
		preview.Cut(string(call[min(len(call), width):]), width),
		v.rejected.reason,
	}
}

// draw updates the live lines at most once per second.
func (d *demo) draw(p progress) {
	d.view.admin = nil
	for _, r := range d.running() {
		if address := r.status().Admin; address != "" {
			d.view.admin = append(d.view.admin, address)
		}
	}
	if !d.screen.terminal {
		d.writeFirst()
	}
	if time.Since(d.drawn) < time.Second {
		return
	}
	d.drawn = time.Now()
	total, a := d.total(), d.ledger.account()
	d.view.counters = fmt.Sprintf("consumed %s  filtered %s  rejected %s  delivered %s  lag %s",
		preview.Number(total.Records), preview.Number(total.Calls.of(transform.Filtered)),
		preview.Number(total.Calls.of(transform.Rejected)), preview.Number(a.arrived), preview.Number(p.end-p.committed))
	width, height := d.screen.size()
	if d.events > 0 {
		text := fmt.Sprintf(" %s of %s records committed, %s events delivered",
			preview.Number(p.committed), preview.Number(d.events), preview.Number(p.arrived))
		d.view.counters = bar(p.committed, d.events, min(max(width-len(text)-3, 10), 40)) + text
	}
	d.view.duplicates = a.duplicates
	d.view.outage = d.outage.describe(total.Batches, d.backoff)
	if d.screen.terminal {
		d.screen.show(d.view.lines(width, height)...)
	} else {
		d.screen.show(append([]string{d.view.counters}, d.view.state()...)...)
	}
}

// writeFirst writes the addresses and the first samples, for output without a terminal.
func (d *demo) writeFirst() {
	width, _ := d.screen.size()
	write := func(lines ...string) { fmt.Fprintln(d.screen, strings.Join(append(lines, ""), "\n")) }
	if !d.wrote.header && len(d.view.admin) == len(d.running()) {
		d.wrote.header = true
		write(d.view.header()...)
	}
	if !d.wrote.event && d.view.event.call != nil {
		d.wrote.event = true
		write(d.view.eventLines(width, math.MaxInt)...)
	}
	if !d.wrote.rejected && d.view.rejected.call != nil {
		d.wrote.rejected = true
		write(d.view.rejectedLines(width)...)
	}
}

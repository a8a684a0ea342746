package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// lostResponses makes LaunchDarkly accept requests without responding. This is the hardest fault,
// because the program must resend the events, but LaunchDarkly must not count them again.
var lostResponses = ldtest.Fault{Kind: ldtest.Hang, Accepted: true, For: 3 * time.Second}

// tour stages faults and describes their effects. It runs as a coroutine of demo.run.
type tour struct {
	*demo
	yield func(error) bool
}

// runTour runs the tour. It yields nil while it waits. If it fails, it yields the error and ends.
func (d *demo) runTour(yield func(error) bool) {
	if !d.tour {
		return
	}
	defer d.ld.Up()
	t := tour{d, yield}
	_ = t.start() && t.failRequests() && t.crash() && t.replace()
}

// start waits until the replicas share the partitions, and then runs without faults for t.pace.
func (t tour) start() bool {
	t.say("Two replicas of the program start.\n" +
		"Events shown as missing are still on their way.\nAt the end, none should be missing.")
	if !t.wait("the replicas share the partitions", t.shared(2)) {
		return false
	}
	t.say("Normal operation: processes %d and %d share the %d partitions.", t.pid(0), t.pid(1), partitions)
	if !t.pass(t.pace) {
		return false
	}
	t.figures()
	return true
}

// failRequests makes all requests fail for t.pace. It then waits until the events from the outage
// are delivered.
func (t tour) failRequests() bool {
	before := t.ld.Report().Requests[503]
	t.say("Outage: LaunchDarkly now responds to every request with 503.")
	t.ld.Down(ldtest.Fault{Status: 503})
	if !t.pass(t.pace) {
		return false
	}
	t.say("%s attempts failed. %s batches wait in memory,\nand the records after them wait in Kafka.",
		preview.Number(t.ld.Report().Requests[503]-before), preview.Number(t.total().Batches))
	t.figures()
	t.say("LaunchDarkly is up again.")
	t.ld.Up()
	seconds, ok := t.settle()
	if ok {
		t.say("%.0f s later, all events from the outage have been delivered.", seconds)
		t.figures()
	}
	return ok
}

// crash kills a replica whose requests LaunchDarkly has accepted without a response. It then waits
// until the other replica owns all partitions, and the events produced before that are delivered.
func (t tour) crash() bool {
	before := t.ld.Report()
	t.say("Lost responses: LaunchDarkly now accepts requests,\nbut its responses do not arrive.")
	t.ld.Down(lostResponses)
	accepted := func() int { return t.ld.Report().Requests[0] - before.Requests[0] }
	victim := t.replicas[0]
	if !t.wait("LaunchDarkly accepts requests", func() bool {
		return accepted() >= partitions && victim.status().Batches >= partitions/2
	}) {
		return false
	}
	if err := victim.kill(); err != nil {
		t.yield(err)
		return false
	}
	<-victim.exited
	t.ld.Up()
	t.say("Crash: process %d was killed with SIGKILL (%v).\nLaunchDarkly had accepted %s requests without a response.\n"+
		"LaunchDarkly now responds again.", t.pid(0), victim.err, preview.Number(accepted()))
	t.figures()
	killed := time.Now()
	if !t.wait("the other replica owns all partitions", t.shared(1)) {
		return false
	}
	t.say("%.0f s later, process %d owns all %d partitions.", time.Since(killed).Seconds(), t.pid(1), partitions)
	_, ok := t.settle()
	if ok {
		t.say("All events from before the crash have been delivered.\n"+
			"%s requests repeated batches that LaunchDarkly had already counted.\n"+
			"It ignored them, because they had the same payload IDs.",
			preview.Number(t.ld.Report().Duplicates-before.Duplicates))
		t.figures()
	}
	return ok
}

// replace starts a replica in place of the killed one.
func (t tour) replace() bool {
	started := time.Now()
	if err := t.startReplica(); err != nil {
		t.yield(err)
		return false
	}
	if !t.wait("the new replica has partitions", t.shared(2)) {
		return false
	}
	t.say("Recovery: a new replica, process %d, shares the partitions\nwith process %d after %.0f s.",
		t.pid(2), t.pid(1), time.Since(started).Seconds())
	if !t.pass(t.pace / 2) {
		return false
	}
	t.figures()
	t.say("End: the generator stops, and the replicas deliver the rest.")
	return true
}

// pass waits for a duration.
func (t tour) pass(duration time.Duration) bool {
	for end := time.Now().Add(duration); time.Now().Before(end); {
		if !t.yield(nil) {
			return false
		}
	}
	return true
}

// wait waits until done returns true. It fails after the duration stuck.
func (t tour) wait(what string, done func() bool) bool {
	for end := time.Now().Add(stuck); !done(); {
		if time.Now().After(end) {
			t.yield(fmt.Errorf("WRONG: after %v, the tour is still waiting until %s", stuck, what))
			return false
		}
		if !t.yield(nil) {
			return false
		}
	}
	return true
}

// settle waits until all events produced so far are delivered, and returns how long that took.
func (t tour) settle() (seconds float64, ok bool) {
	started, records := time.Now(), t.ledger.account().records
	ok = t.wait("the events are delivered", func() bool { return t.ledger.account().settled >= records })
	return time.Since(started).Seconds(), ok
}

// shared returns a function that reports whether the given number of replicas are running, each
// with a part of the partitions.
func (t tour) shared(replicas int) func() bool {
	return func() bool {
		owned := 0
		running := t.running()
		for _, r := range running {
			n := r.status().Partitions
			if n == 0 {
				return false
			}
			owned += n
		}
		return len(running) == replicas && owned == partitions
	}
}

func (t tour) pid(replica int) int { return t.replicas[replica].cmd.Process.Pid }

// say writes lines that describe the current step, with the time since the start.
func (t tour) say(format string, a ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", "\n"+indent)
	fmt.Fprintf(t.screen, "[%2.0f s] %s\n", time.Since(t.started).Seconds(), text)
}

const indent = "       " // as wide as the time

// figures writes the numbers of produced, delivered, missing, and duplicate events.
func (t tour) figures() {
	a := t.ledger.account()
	fmt.Fprintf(t.screen, indent+"events produced %s, delivered %s, missing %s, duplicates %s\n",
		preview.Number(a.truth[transform.None]), preview.Number(a.arrived), preview.Number(a.missing),
		preview.Number(a.duplicates))
}

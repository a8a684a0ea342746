//go:build linux

package chaos

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Report is what came of a run.
type Report struct {
	Broken []string // invariants, in words; none is the good outcome

	Duration      time.Duration
	Steps         map[Action]int
	Records       int            // produced
	Events        int            // events among them that are to be delivered
	Requests      int            // that LaunchDarkly saw
	Faults        map[string]int // that they met, by kind
	Sent          int            // events in requests that LaunchDarkly took
	Duplicates    int            // events that LaunchDarkly had accepted before under the same payload ID
	Doubled       int            // events that count more than once
	DoubledByLoss int            // events that count more than once because Kafka lost a part of their batch, on purpose
	Again         int            // events that were delivered again after an operator set the group's offsets back
	Lost          int            // records that Kafka lost or deleted, on purpose
	LostUnsent    int            // events among them that were not delivered before
	Unknown       int            // commits of which no member is known to have sent them
	Fenced        int            // static members that were fenced or could not join because another member had their instance ID
	Letters       int            // dead letters
	Repeats       int            // dead letters of a record that already had one
	Commits       int            // of single partitions
	Replayed      int            // commits, requests, and other steps that were replayed through the model
	Judged        int            // members that were killed or stopped, and whose partitions had to be taken over in time
	LongestStall  time.Duration  // longest time from an event's acknowledgement to its delivery
	StallEnd      time.Time      // when that event was delivered
	LongestLeave  time.Duration  // from SIGTERM to the exit
	Excused       int            // members that left with exit code 1, which was right around a broker's absence or a freeze
	PeakBytes     int            // highest resident memory of a member
	LateCommits   int            // commits that were held back by the network
	LateApplied   int            // partitions of them that the broker stored
	LateRefused   map[string]int // partitions of them that it rejected, by error
	Errors        map[string]int // of the coordinator to members, by request and error
}

// NewReport returns a report of nothing.
func NewReport() *Report {
	return &Report{Steps: map[Action]int{}, Faults: map[string]int{}, LateRefused: map[string]int{}, Errors: map[string]int{}}
}

// tell notes a broken invariant.
func (r *Report) tell(format string, args ...any) {
	r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
}

// add counts and checks evidence. name tells its log from the main topic's.
func (r *Report) add(name string, e *Evidence) {
	c := newChecker(e)
	c.check()
	r.Letters += len(e.Letters)
	r.Repeats += c.repeats
	r.Commits += len(e.Commits)
	r.Judged += c.judged
	r.Replayed += c.steps
	if e.Since.IsZero() {
		r.Records += len(e.Produced)
	}
	for _, k := range e.Commits {
		if k.Member == "" && !k.Operator {
			r.Unknown++
		}
	}
	for _, p := range e.Produced {
		by := c.taken[p.Number]
		if !p.Lost.IsZero() && e.Since.IsZero() {
			r.Lost++
			if len(by) == 0 && KindOf(p.Number) == Delivered {
				r.LostUnsent++
			}
		}
		if KindOf(p.Number) == Delivered && e.Since.IsZero() {
			r.Events++
		}
		if len(by) > 0 {
			r.stall(c.wait(p), c.Requests[by[0]].Done)
			if p.Acked.Before(e.Since) && !e.Since.IsZero() {
				r.Again++
			}
		}
		switch {
		case len(by) < 2:
		case c.twice(p, by):
			r.Doubled++
		default:
			r.DoubledByLoss++
		}
	}
	for _, b := range c.broken {
		r.Broken = append(r.Broken, b+name)
	}
}

// addRequests counts all requests, and checks what concerns more than one log: one body for each
// payload ID.
func (r *Report) addRequests(requests []Request, ld ldtest.Report) {
	c := newChecker(&Evidence{Requests: requests})
	c.bodies()
	r.Broken = append(r.Broken, c.broken...)
	r.Requests += len(requests)
	for _, q := range requests {
		if q.Accepted {
			r.Sent += len(q.Numbers)
		}
		if q.Duplicate {
			r.Duplicates += len(q.Numbers)
		}
	}
	maps.Copy(r.Faults, ld.Faults)
}

func (r *Report) stall(d time.Duration, end time.Time) {
	if d > r.LongestStall {
		r.LongestStall, r.StallEnd = d, end
	}
}

// Rules returns the number of broken rules. A rule counts once, regardless of how many lines report
// it.
func (r *Report) Rules() int {
	rules := map[string]bool{}
	for _, s := range r.Broken {
		rule, _, _ := strings.Cut(strings.TrimPrefix(s, sampled), ": ")
		rules[rule] = true
	}
	return len(rules)
}

// Add adds another run's report.
func (r *Report) Add(o *Report) {
	r.Broken = append(r.Broken, o.Broken...)
	for k, n := range o.Steps {
		r.Steps[k] += n
	}
	for k, n := range o.Faults {
		r.Faults[k] += n
	}
	for k, n := range o.LateRefused {
		r.LateRefused[k] += n
	}
	for k, n := range o.Errors {
		r.Errors[k] += n
	}
	r.LateCommits += o.LateCommits
	r.LateApplied += o.LateApplied
	r.Duration += o.Duration
	r.Records += o.Records
	r.Events += o.Events
	r.Requests += o.Requests
	r.Sent += o.Sent
	r.Duplicates += o.Duplicates
	r.Doubled += o.Doubled
	r.DoubledByLoss += o.DoubledByLoss
	r.Again += o.Again
	r.Lost += o.Lost
	r.LostUnsent += o.LostUnsent
	r.Unknown += o.Unknown
	r.Fenced += o.Fenced
	r.Letters += o.Letters
	r.Repeats += o.Repeats
	r.Commits += o.Commits
	r.Judged += o.Judged
	r.Replayed += o.Replayed
	r.stall(o.LongestStall, o.StallEnd)
	r.LongestLeave = max(r.LongestLeave, o.LongestLeave)
	r.Excused += o.Excused
	r.PeakBytes = max(r.PeakBytes, o.PeakBytes)
}

func (r *Report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-44s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("duration", "%v", r.Duration.Round(time.Second))
	for _, k := range slices.Sorted(maps.Keys(r.Steps)) {
		line("  "+string(k), "%d", r.Steps[k])
	}
	line("records produced", "%d", r.Records)
	line("events to deliver", "%d", r.Events)
	line("requests", "%d", r.Requests)
	line("commits checked", "%d", r.Commits)
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		line("  fault "+k, "%d", r.Faults[k])
	}
	for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
		line("  "+k, "%d", r.Errors[k])
	}
	line("commits delivered late", "%d", r.LateCommits)
	line("  partitions stored", "%d", r.LateApplied)
	for _, k := range slices.Sorted(maps.Keys(r.LateRefused)) {
		line("  partitions rejected, "+k, "%d", r.LateRefused[k])
	}
	line("events taken twice, same payload ID", "%d", r.Duplicates)
	line("events counted twice", "%d", r.Doubled)
	line("  since Kafka lost part of a batch", "%d", r.DoubledByLoss)
	line("records lost by Kafka, on purpose", "%d", r.Lost)
	line("  events not delivered before", "%d", r.LostUnsent)
	line("events redelivered for an operator", "%d", r.Again)
	line("instance IDs fenced", "%d", r.Fenced)
	line("commits of unknown members", "%d", r.Unknown)
	line("dead letters", "%d, repeated %d", r.Letters, r.Repeats)
	line("steps replayed through the model", "%d", r.Replayed)
	line("takeovers judged", "%d", r.Judged)
	line("longest stall", "%v, to %s", r.LongestStall.Round(time.Millisecond), clock(r.StallEnd))
	line("longest leave", "%v", r.LongestLeave.Round(time.Millisecond))
	line("exit code 1, excused", "%d", r.Excused)
	line("highest memory of the soak itself", "%.1f MiB", float64(processMemory(os.Getpid(), residentPeak))/(1<<20))
	line("highest memory of a member", "%.1f MiB", float64(r.PeakBytes)/(1<<20))
	for _, s := range r.Broken {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	line("broken rules", "%d", r.Rules())
	return b.String()
}

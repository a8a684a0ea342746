//go:build linux

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Report is what came of a run.
type Report struct {
	Broken []string // invariants, in words; none is the good outcome

	Duration     time.Duration
	Steps        map[Action]int
	Records      int            // produced
	Events       int            // thereof to be delivered
	Requests     int            // that LaunchDarkly saw
	Faults       map[string]int // that they met, by kind
	Sent         int            // events in requests that LaunchDarkly took
	Duplicates   int            // thereof, events that it had taken before, under the same payload ID
	Doubled      int            // events that count more than once
	Letters      int            // dead letters
	Repeats      int            // thereof, of a record that had one
	Commits      int            // of single partitions
	Judged       int            // members that were killed or stopped, and whose partitions had to be taken over in time
	LongestStall time.Duration  // longest time from an event's acknowledgement to its delivery
	StallEnd     time.Time      // when that event was delivered
	LongestLeave time.Duration  // from SIGTERM to the exit
	Excused      int            // members that left with exit code 1, which was right around a broker's absence or a freeze
	PeakBytes    int            // highest resident memory of a member
	LateCommits  int            // commits that were held back by the network
	LateApplied  int            // partitions of them that the broker stored
	LateRefused  map[string]int // partitions of them that it rejected, by error
	Errors       map[string]int // of the coordinator to members, by request and error
}

// NewReport returns a report of nothing.
func NewReport() *Report {
	return &Report{Steps: map[Action]int{}, Faults: map[string]int{}, LateRefused: map[string]int{}, Errors: map[string]int{}}
}

// tell notes a broken invariant.
func (r *Report) tell(format string, args ...any) {
	r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
}

// add counts and checks the evidence.
func (r *Report) add(e *Evidence, ld ldtest.Report) {
	c := newChecker(e)
	c.check()
	r.Records, r.Requests, r.Letters, r.Repeats, r.Commits, r.Judged = len(e.Produced), len(e.Requests), len(e.Letters), c.repeats, len(e.Commits), c.judged
	for _, p := range e.Produced {
		by := c.taken[p.Number]
		if KindOf(p.Number) == Delivered {
			r.Events++
		}
		if len(by) > 0 {
			r.stall(by[0].Done.Sub(p.Acked), by[0].Done)
		}
		if len(by) > 1 {
			r.Doubled++
		}
	}
	for _, q := range e.Requests {
		if q.Taken {
			r.Sent += len(q.Numbers)
		}
		if q.Duplicate {
			r.Duplicates += len(q.Numbers)
		}
	}
	maps.Copy(r.Faults, ld.Faults)
	r.Broken = append(r.Broken, c.broken...)
}

func (r *Report) stall(d time.Duration, end time.Time) {
	if d > r.LongestStall {
		r.LongestStall, r.StallEnd = d, end
	}
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
	r.Letters += o.Letters
	r.Repeats += o.Repeats
	r.Commits += o.Commits
	r.Judged += o.Judged
	r.stall(o.LongestStall, o.StallEnd)
	r.LongestLeave = max(r.LongestLeave, o.LongestLeave)
	r.Excused += o.Excused
	r.PeakBytes = max(r.PeakBytes, o.PeakBytes)
}

func (r *Report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-36s%s\n", name, fmt.Sprintf(format, args...))
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
		line("  coordinator "+k, "%d", r.Errors[k])
	}
	line("commits delivered late", "%d", r.LateCommits)
	line("  partitions stored", "%d", r.LateApplied)
	for _, k := range slices.Sorted(maps.Keys(r.LateRefused)) {
		line("  partitions rejected, "+k, "%d", r.LateRefused[k])
	}
	line("events taken twice, same payload ID", "%d", r.Duplicates)
	line("events counted twice", "%d", r.Doubled)
	line("dead letters", "%d, repeated %d", r.Letters, r.Repeats)
	line("takeovers judged", "%d", r.Judged)
	line("longest stall", "%v, to %s", r.LongestStall.Round(time.Millisecond), clock(r.StallEnd))
	line("longest leave", "%v", r.LongestLeave.Round(time.Millisecond))
	line("exit code 1, excused", "%d", r.Excused)
	line("highest memory of a member", "%.1f MiB", float64(r.PeakBytes)/(1<<20))
	line("broken invariants", "%d", len(r.Broken))
	for _, s := range r.Broken {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	return b.String()
}

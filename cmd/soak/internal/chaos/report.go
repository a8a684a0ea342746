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

// Report contains the results of one or more runs.
type Report struct {
	Broken []string // descriptions of broken invariants; empty if all hold

	Duration      time.Duration
	Steps         map[Action]int
	Records       int            // records produced
	Events        int            // events that must be delivered
	Requests      int            // requests received by LaunchDarkly
	Faults        map[string]int // failed requests, by fault
	Sent          int            // events in requests accepted by LaunchDarkly
	Duplicates    int            // events resent under a payload ID that LaunchDarkly had already accepted
	Doubled       int            // events wrongly counted more than once
	DoubledByLoss int            // events counted more than once because Kafka lost part of their batch
	Redelivered   int            // events delivered again after an operator reset the group's offsets
	Lost          int            // records that a fault made Kafka lose or delete
	LostUnsent    int            // undelivered events in lost records
	Unknown       int            // commits from unknown senders
	Fenced        int            // static members fenced or prevented from joining because of a duplicate instance ID
	Letters       int            // dead letters
	Repeats       int            // dead letters for records that already had one
	Commits       int            // offset commits, counted per partition
	Replayed      int            // commits, requests, and other steps replayed through the model
	Judged        int            // judged takeovers from killed or frozen members
	LongestStall  time.Duration  // longest time from an acknowledgment to delivery, without outages of brokers
	StallEnd      time.Time      // end of the longest stall
	LongestLeave  time.Duration  // longest time from SIGTERM to exit
	Excused       int            // members whose nonzero exit code was allowed
	PeakBytes     int            // highest anonymous memory of any member
	LateCommits   int            // commits held back by the network
	LateApplied   int            // late commits stored by the broker, counted per partition
	LateRejected  map[string]int // late commits rejected by the broker, counted per partition, by error
	Errors        map[string]int // errors returned by the coordinator, by request and error
}

// NewReport returns an empty report.
func NewReport() *Report {
	return &Report{
		Steps: map[Action]int{}, Faults: map[string]int{}, LateRejected: map[string]int{}, Errors: map[string]int{},
	}
}

// addBroken adds a broken invariant.
func (r *Report) addBroken(format string, args ...any) {
	r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
}

// addEvidence checks evidence and adds the result. name is appended to broken invariants to
// identify the log, and is empty for the main topic.
func (r *Report) addEvidence(name string, e *Evidence) {
	c := newChecker(e)
	c.checkAll()
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
		by := c.accepted[p.Number]
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
				r.Redelivered++
			}
		}
		switch {
		case len(by) < 2:
		case c.countedTwice(p, by):
			r.Doubled++
		default:
			r.DoubledByLoss++
		}
	}
	for _, b := range c.broken {
		r.Broken = append(r.Broken, b+name)
	}
}

// addRequests counts all requests and checks that each payload ID has only one body across all
// logs.
func (r *Report) addRequests(requests []Request, ld ldtest.Report) {
	c := newChecker(&Evidence{Requests: requests})
	c.checkBodies()
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

// BrokenInvariants returns the number of broken invariants. Each invariant counts once, regardless
// of how many lines report it.
func (r *Report) BrokenInvariants() int {
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
	for k, n := range o.LateRejected {
		r.LateRejected[k] += n
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
	r.Redelivered += o.Redelivered
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
	for _, k := range slices.Sorted(maps.Keys(r.LateRejected)) {
		line("  partitions rejected, "+k, "%d", r.LateRejected[k])
	}
	line("events accepted twice, same payload ID", "%d", r.Duplicates)
	line("events counted twice", "%d", r.Doubled)
	line("  because Kafka lost part of a batch", "%d", r.DoubledByLoss)
	line("records intentionally lost by Kafka", "%d", r.Lost)
	line("  events not delivered before", "%d", r.LostUnsent)
	line("events replayed after an offset reset", "%d", r.Redelivered)
	line("instance IDs fenced", "%d", r.Fenced)
	line("commits from unknown senders", "%d", r.Unknown)
	line("dead letters", "%d, repeated %d", r.Letters, r.Repeats)
	line("steps replayed through the model", "%d", r.Replayed)
	line("takeovers judged", "%d", r.Judged)
	line("longest stall", "%v, until %s", r.LongestStall.Round(time.Millisecond), clock(r.StallEnd))
	line("longest leave", "%v", r.LongestLeave.Round(time.Millisecond))
	line("exit code 1 when allowed", "%d", r.Excused)
	line("peak memory of the soak", "%.1f MiB", float64(processMemory(os.Getpid(), residentPeak))/(1<<20))
	line("peak memory of a member", "%.1f MiB", float64(r.PeakBytes)/(1<<20))
	for _, s := range r.Broken {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	line("broken invariants", "%d", r.BrokenInvariants())
	return b.String()
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// summary is the demo's final output, written as one line of JSON.
type summary struct {
	Produced   int64   `json:"produced"`   // records produced
	Delivered  int64   `json:"delivered"`  // expected events counted by LaunchDarkly
	Missing    int64   `json:"missing"`    // expected events not counted by LaunchDarkly
	Duplicates int64   `json:"duplicates"` // times that an event was counted again
	Filtered   int64   `json:"filtered"`   // filtered calls reported by the replicas, or produced if one was killed
	Rejected   int64   `json:"rejected"`   // rejected calls reported by the replicas, or produced if one was killed
	Requests   int64   `json:"requests"`   // requests received by LaunchDarkly
	Seconds    float64 `json:"seconds"`    // time until everything was delivered and committed
}

// summarize writes the summary and returns an error that describes every discrepancy.
func (d *demo) summarize(stdout io.Writer, seconds float64) error {
	a, report, total := d.ledger.account(), d.ld.Report(), d.total()
	if len(d.running()) < len(d.replicas) { // the replicas' counters lack some records, and count others twice
		total.Records, total.Calls = d.generator.produced.Load(), a.truth
	}
	calls := total.Calls
	s := summary{
		Produced: d.generator.produced.Load(), Delivered: a.arrived, Missing: a.missing, Duplicates: a.duplicates,
		Filtered: calls.of(transform.Filtered), Rejected: calls.of(transform.Rejected),
		Seconds: math.Round(seconds*1000) / 1000,
	}
	for _, n := range report.Requests {
		s.Requests += int64(n)
	}
	fmt.Fprintf(d.screen, `%s records in %.1f s
delivered   %s events in %s requests (%s retries, %s duplicates ignored)
missing     %s
duplicates  %s
filtered    %s calls
  %s
rejected    %s calls
  %s

`, preview.Number(s.Produced), seconds,
		preview.Number(s.Delivered), preview.Number(s.Requests), preview.Number(total.Retries),
		preview.Number(int64(report.Duplicates)),
		preview.Number(s.Missing), preview.Number(s.Duplicates),
		preview.Number(s.Filtered), calls.reasons(transform.Filtered),
		preview.Number(s.Rejected), calls.reasons(transform.Rejected))
	if err := json.NewEncoder(stdout).Encode(s); err != nil {
		return err
	}

	var wrong []error
	check := func(n int64, format string, a ...any) {
		if n != 0 {
			wrong = append(wrong, fmt.Errorf("WRONG: %s %s", preview.Number(n), fmt.Sprintf(format, a...)))
		}
	}
	check(a.missing, "events are missing")
	check(a.duplicates, "events were counted more than once")
	check(int64(report.ViolationCount), "violations of LaunchDarkly's rules, first: %+v", first(report.Violations))
	check(int64(report.Dropped), "events dropped by LaunchDarkly, first: %+v", first(report.Drops))
	check(a.unexpected, "unexpected events, first: %s", a.example)
	compare := func(got, want int64, format string, a ...any) {
		if got != want {
			wrong = append(wrong, fmt.Errorf("WRONG: %s %s, want %s",
				preview.Number(got), fmt.Sprintf(format, a...), preview.Number(want)))
		}
	}
	compare(total.Records, s.Produced, "records consumed")
	for reason := range transform.Reasons {
		compare(calls[reason], a.truth[reason], "calls with outcome %s and reason %q", reason.Outcome(), reason)
	}
	if d.events > 0 {
		check(d.events-s.Produced, "records were not produced")
	}
	if len(wrong) == 0 {
		fmt.Fprintln(d.screen, "OK: every event was counted exactly once.")
	}
	return errors.Join(wrong...)
}

func first[T any](list []T) (x T) {
	if len(list) > 0 {
		x = list[0]
	}
	return x
}

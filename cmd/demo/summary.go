package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// summary is the line of JSON at the end.
type summary struct {
	Produced   int64   `json:"produced"`   // records
	Delivered  int64   `json:"delivered"`  // events that LaunchDarkly counts, of those that it should
	Missing    int64   `json:"missing"`    // events that it should count and does not
	Duplicates int64   `json:"duplicates"` // events that it counts more than once
	Filtered   int64   `json:"filtered"`   // calls, as the program counts
	Rejected   int64   `json:"rejected"`   // calls, as the program counts
	Requests   int64   `json:"requests"`   // that LaunchDarkly received
	Seconds    float64 `json:"seconds"`    // until everything was delivered and committed
}

// judge writes the summary, and returns as an error everything that is wrong.
func (d *demo) judge(stdout io.Writer, seconds float64) error {
	read, sent := d.program.Status()
	calls := callCounts(read.Calls)
	a, report := d.ledger.account(), d.ld.Report()
	s := summary{
		Produced: d.generator.produced.Load(), Delivered: a.arrived, Missing: a.missing, Duplicates: a.duplicates,
		Filtered: calls.of(transform.Filtered), Rejected: calls.of(transform.Rejected),
		Seconds: math.Round(seconds*1000) / 1000,
	}
	for _, n := range report.Requests {
		s.Requests += int64(n)
	}
	fmt.Fprintf(d.screen, `%s records in %.1f s
delivered   %s events in %s requests (%s repeats, %s of them ignored)
missing     %s
duplicates  %s
filtered    %s calls: %s
rejected    %s calls: %s

`, number(s.Produced), seconds,
		number(s.Delivered), number(s.Requests), number(sent.Retries), number(int64(report.Duplicates)),
		number(s.Missing), number(s.Duplicates), number(s.Filtered), calls.reasons(transform.Filtered),
		number(s.Rejected), calls.reasons(transform.Rejected))
	if err := json.NewEncoder(stdout).Encode(s); err != nil {
		return err
	}

	var wrong []error
	check := func(n int64, format string, a ...any) {
		if n != 0 {
			wrong = append(wrong, fmt.Errorf("WRONG: %s %s", number(n), fmt.Sprintf(format, a...)))
		}
	}
	check(a.missing, "events are missing")
	check(a.duplicates, "events count more than once")
	check(int64(report.ViolationCount), "violations of LaunchDarkly's rules, the first: %+v", first(report.Violations))
	check(int64(report.Dropped), "events that LaunchDarkly drops, the first: %+v", first(report.Drops))
	check(a.unexpected, "events that should not be, the first: %s", a.strange)
	check(read.Records-s.Produced, "records consumed more or less than produced")
	for reason := range transform.Reasons {
		check(calls[reason]-a.truth[reason], "calls more or less than produced have the outcome %s %s",
			reason.Outcome(), reason)
	}
	if d.events > 0 {
		check(d.events-s.Produced, "records were not produced")
	}
	return errors.Join(wrong...)
}

func first[T any](list []T) (x T) {
	if len(list) > 0 {
		x = list[0]
	}
	return x
}

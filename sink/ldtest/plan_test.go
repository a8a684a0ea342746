package ldtest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// statuses sends n requests, each with its own ID, and returns the statuses of the responses.
func statuses(t *testing.T, url string, n int) (got []int) {
	t.Helper()
	for range n {
		got = append(got, status(t, bulk(t, url, uuid.NewString(), "["+event3+"]")))
	}
	return got
}

func TestScriptedFaultsAreUsedUpInOrder(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	ld.Script(ldtest.Fault{Status: 503}, ldtest.Fault{})
	ld.Script(ldtest.Fault{Status: 429, Accepted: true})
	head, err := http.NewRequestWithContext(t.Context(), http.MethodHead, url+"/sdk/goals/"+ldtest.Sample.ClientSideID,
		nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, head); got != 200 {
		t.Errorf("HEAD: %d: used up a fault", got)
	}
	if got := ld.Report().Scripted; got != 3 {
		t.Errorf("%d faults scripted, want 3", got)
	}
	if got, want := statuses(t, url, 4), []int{503, 202, 429, 202}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	if report := ld.Report(); report.Scripted != 0 || report.Processed != 3 || report.Requests[202] != 2 ||
		report.Faults["429,accepted"] != 1 {
		t.Errorf("report: %+v", report)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ld, client := bubble(t)
		ld.Script(ldtest.Fault{Status: 429}, ldtest.Fault{Status: 429, RetryAfter: "7"},
			ldtest.Fault{Status: 503, RetryIn: 90 * time.Second})
		date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		for _, want := range []string{"", "7", date} {
			resp, err := client.Do(bulk(t, "http://ld", id1, "["+event3+"]"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header.Get("Retry-After"); got != want {
				t.Errorf("Retry-After %q, want %q", got, want)
			}
		}
	})
}

func TestRandomFaultsFollowTheirSeedAndRate(t *testing.T) {
	run := func(seed uint64, rate float64) []int {
		ld, url := serve(t, ldtest.Config{})
		ld.Random(seed, rate, ldtest.Fault{Status: 500}, ldtest.Fault{Status: 503, Accepted: true})
		return statuses(t, url, 60)
	}
	first := run(1, 0.5)
	if again := run(1, 0.5); !slices.Equal(first, again) {
		t.Errorf("the same seed produced two sequences:\n%v\n%v", first, again)
	}
	if other := run(2, 0.5); slices.Equal(first, other) {
		t.Error("two seeds produced the same sequence")
	}
	for _, status := range []int{202, 500, 503} {
		if !slices.Contains(first, status) {
			t.Errorf("no %d in %v", status, first)
		}
	}
	if never := run(1, 0); slices.ContainsFunc(never, func(s int) bool { return s != 202 }) {
		t.Errorf("rate 0: %v", never)
	}
	if always := run(1, 1); slices.Contains(always, 202) {
		t.Errorf("rate 1: %v", always)
	}
}

func TestClientThatResendsSurvivesTransientFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ld, client := bubble(t)
		ld.Random(3, 0.6)
		const batches = 300
		for i := range batches {
			id, body := uuid.NewString(), fmt.Sprintf("[%s]", strings.Replace(event3, `"n":1`, fmt.Sprintf(`"n":%d`, i), 1))
			for got := ""; got != "202"; {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				got = view(client, bulk(t, "http://ld", id, body).WithContext(ctx))
				cancel()
			}
		}
		report := ld.Report()
		if report.Processed != batches || report.Dropped != 0 || report.ViolationCount != 0 || report.Duplicates == 0 {
			t.Errorf("report: %+v", report)
		}
		if len(report.Faults) != len(ldtest.TransientFaults()) {
			t.Errorf("%d of %d faults occurred: %v", len(report.Faults), len(ldtest.TransientFaults()), report.Faults)
		}
	})
}

func TestDownAppliesToEveryRequestUntilUp(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	ld.Script(ldtest.Fault{Status: 500})
	ld.Down(ldtest.Fault{Status: 503})
	head, err := http.NewRequestWithContext(t.Context(), http.MethodHead, url+"/sdk/goals/"+ldtest.Sample.ClientSideID,
		nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, head); got != 503 {
		t.Errorf("HEAD: %d", got)
	}
	if got, want := statuses(t, url, 3), []int{503, 503, 503}; !slices.Equal(got, want) {
		t.Errorf("down: %v", got)
	}
	ld.Up()
	if got, want := statuses(t, url, 2), []int{500, 202}; !slices.Equal(got, want) {
		t.Errorf("up: %v, want the script to continue: %v", got, want)
	}
	if report := ld.Report(); report.Processed != 1 || report.Requests[503] != 4 {
		t.Errorf("report: %+v", report)
	}
}

func TestPoisonRejectsTheWholeRequestUntilItIsSplit(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	ld.Poison(ldtest.Containing(`"n":666`))
	bad := strings.Replace(event3, `"n":1`, `"n":666`, 1)
	for body, want := range map[string]int{
		"[" + event3 + "," + bad + "]":    400,
		"[" + bad + "]":                   400,
		"[" + event3 + "," + event3 + "]": 202,
	} {
		for range 2 {
			if got := status(t, bulk(t, url, uuid.NewString(), body)); got != want {
				t.Errorf("%s: %d, want %d", body, got, want)
			}
		}
	}
	if report := ld.Report(); report.Processed != 4 {
		t.Errorf("report: %+v", report)
	}
	ld.Poison(nil)
	if got := status(t, bulk(t, url, uuid.NewString(), "["+bad+"]")); got != 202 {
		t.Errorf("afterwards: %d", got)
	}
}

func TestFaultAfterAcceptingDoesNotAcceptInvalidRequests(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	ld.Script(ldtest.Fault{Status: 503, Accepted: true})
	if got := status(t, bulk(t, url, id1, "{}")); got != 400 {
		t.Errorf("status %d, want 400", got)
	}
	if seen := ld.Requests()[0]; seen.Accepted || seen.Fault != (ldtest.Fault{}) || seen.Rejection == "" {
		t.Errorf("recorded as %+v", seen)
	}
}

func TestLimitRejectsBodiesOfThatSizeOrLarger(t *testing.T) {
	ld, url := serve(t, ldtest.Config{})
	body := "[" + event3 + "]"
	for _, c := range []struct{ limit, want int }{{len(body), 413}, {len(body) + 1, 202}, {0, 202}} {
		ld.Limit(c.limit)
		if got := status(t, bulk(t, url, uuid.NewString(), body)); got != c.want {
			t.Errorf("limit %d, %d bytes: %d, want %d", c.limit, len(body), got, c.want)
		}
	}
}

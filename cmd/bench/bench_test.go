package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain runs main if a test starts this binary with a role.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-role" {
		main()
	}
	os.Exit(m.Run())
}

func TestMeasuresAndLosesNothing(t *testing.T) {
	t.Setenv("S2LD_BATCH_MAX_EVENTS", "100") // small enough that batches fill up
	var stdout, stderr bytes.Buffer
	profiles := t.TempDir()
	args := []string{"-json", "-records", "4000", "-rounds", "2", "-pprof", profiles}
	code := execute(t.Context(), args, nil, &stdout, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	var r results
	decoder := json.NewDecoder(&stdout)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 2 || r.Work.Events < 2000 || r.Work.Records != 4000 {
		t.Errorf("%d rounds, %+v", len(r.Rounds), r.Work)
	}
	for _, round := range r.Rounds {
		f := round[roleForwarder]
		if f.Lost != 0 {
			t.Errorf("%v lost", f.Lost)
		}
		if least := float64(r.Work.Events) / 100; f.Requests < least || f.Requests > least+2*partitions+10 {
			t.Errorf("%v requests for %d events, 100 per request", f.Requests, r.Work.Events)
		}
		if f.Allocs <= 0 || f.Records <= 0 {
			t.Errorf("result incomplete: %+v", f)
		}
	}
	if files, _ := os.ReadDir(profiles); len(files) != 2*2 {
		t.Errorf("%d profiles after two rounds, want 4", len(files))
	}
}

func TestInvalidFlagsFail(t *testing.T) {
	for _, args := range [][]string{{"-records", "0"}, {"-rounds", "0"}, {"fast"}, {"-fast"}} {
		var stderr bytes.Buffer
		if code := execute(t.Context(), args, nil, nil, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit code %d, %q", args, code, &stderr)
		}
	}
}

// events returns a request body of events with the given numbers.
func events(numbers ...string) []byte {
	var all []string
	for _, n := range numbers {
		all = append(all, `{"kind":"custom","key":"seq","data":{"seq":`+n+`,"a":1}}`)
	}
	return []byte("[" + strings.Join(all, ",") + "]")
}

func TestReceiverCountsEachPayloadOnce(t *testing.T) {
	start := time.Now()
	requests := []request{
		{start, "a", false, events("8", "16")},
		{start.Add(time.Second), "b", false, events("24", "32", "40")},
		{start.Add(time.Second), "a", false, events("8", "16")},
		{start.Add(2 * time.Second), "c", false, events("48")},
		{start.Add(9 * time.Second), "d", false, events("56")},
	}
	got, err := report(slices.Clone(requests), 4)
	if err != nil {
		t.Fatal(err)
	}
	if want := (tally{7, 8 + 16 + 24 + 32 + 40 + 48 + 56}); got.tally != want || got.Requests != 5 {
		t.Errorf("%+v, want %+v of 5 requests", got, want)
	}
	if got.PerSecond != 2 {
		t.Errorf("%v events per second, want 2 (those of b and c, in the two seconds after a)", got.PerSecond)
	}
	if _, err := report([]request{{start, "a", true, events("8")}}, 1); err == nil {
		t.Error("no error for a body that is not gzip")
	}
}

func TestMissingCountsLossesAndSurplus(t *testing.T) {
	want := tally{10, 100}
	for _, x := range []struct {
		got  tally
		lost int64
	}{
		{want, 0}, {tally{8, 90}, 2}, {tally{11, 110}, 1}, {tally{10, 99}, 1},
	} {
		if lost := want.missing(x.got); lost != x.lost {
			t.Errorf("got %+v: %d lost, want %d", x.got, lost, x.lost)
		}
	}
}

func TestResultsSubtractTheIdleRunAndReportLosses(t *testing.T) {
	floor, forwarder := contender{name: roleFloor}, contender{name: roleForwarder}
	r := newResults(&options{}, []contender{floor, forwarder},
		&topic{records: 1000, expected: tally{600, 0}, valueBytes: 900_000})
	idle := result{usage: usage{CPU: time.Millisecond, Allocs: 50, GCs: 1}}
	r.addIdle(floor, idle)
	r.addIdle(forwarder, idle)
	for i := range 3 {
		cpu := time.Duration(5+i*i) * time.Millisecond
		r.add(map[string]result{
			roleFloor:     {usage: usage{CPU: 3 * time.Millisecond}},
			roleForwarder: {usage: usage{CPU: cpu, Peak: 5e6, Allocs: 1050, GCs: 4}, perSecond: 1000},
		})
	}
	want := figures{CPU: 5, Ratio: 2.5, Records: 1000, PeakMB: 5, Allocs: 1000, GCs: 3}
	if got := *r.Median[roleForwarder]; got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	var table bytes.Buffer
	err := r.table(&table)
	const rows = 1 + 3 + 1 // the idle run, the rounds, and the median
	if err != nil || strings.Count(table.String(), roleForwarder) != rows {
		t.Errorf("%v\n%s", err, &table)
	}
	if err := r.lost(); err != nil {
		t.Error(err)
	}
	r.add(map[string]result{roleForwarder: {lost: 2}})
	if err := r.lost(); err == nil || !strings.Contains(err.Error(), "2") {
		t.Errorf("%v, want an error for two lost events", err)
	}
}

func TestPartsAreTheMedianOfTheRounds(t *testing.T) {
	contenders := []contender{{name: roleFloor}, {name: roleForwarder}}
	r := newResults(&options{}, contenders, &topic{records: 1000})
	var all []mapped
	for _, ms := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 10 * time.Millisecond} {
		r.add(map[string]result{
			roleFloor:     {usage: usage{CPU: ms}},
			roleForwarder: {usage: usage{CPU: 5 * ms, Peak: 70e6}},
		})
		all = append(all, mapped{Mapping: 2 * ms, Sealing: 3 * ms})
	}
	r.addParts(all)
	if want := (parts{Fetch: 2, Mapping: 4, Gzip: 2, Own: 2, Share: 0.2}); *r.Parts != want {
		t.Errorf("%+v, want %+v", *r.Parts, want)
	}
	r.Memory = []peakMemory{{64, 1000, map[string]float64{roleForwarder: 72.3}}}
	r.Rates = []rateFigures{{Rate: 100, Name: roleForwarder, CPU: 4.94, P50: 2.9, P99: 5, Longest: 5.01}}
	var table bytes.Buffer
	r.markdown(&table)
	for _, row := range []string{
		"| forwarder | 10.00 µs | 5.00 | 0 | 70 MB |", "| everything else | 2.00 µs | 20% |",
		"| 100 | 4.9 ms | 2.90 s | 5.00 s | 5.01 s |", "| 64 | 1000 | 72 MB |",
	} {
		if !strings.Contains(table.String(), row+"\n") {
			t.Errorf("no row %q in\n%s", row, &table)
		}
	}
}

func TestArrivalsNameEachEvent(t *testing.T) {
	at := time.Now()
	got, err := arrivals([]request{{at, "a", false, events("8", "17")}})
	want := []arrival{{8, at.Add(latency)}, {17, at.Add(latency)}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

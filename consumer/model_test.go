package consumer

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bounded returns a bound with all kinds of faults. Faults of the log are included only if logs is
// set.
func bounded(records int8, faults int, logs bool) bound {
	b := bound{records: records, faults: faults}
	for kind := range b.kinds {
		b.kinds[kind] = logs || faultKind(kind) != faultLog
	}
	return b
}

// anywhere extends b to all offsets of the filtered record and of the record that LaunchDarkly
// rejects.
func anywhere(b bound) bound {
	b.anywhere = true
	return b
}

// quickBounds take a few seconds. fullBounds are for `make model`.
var (
	quickBounds = []bound{bounded(2, 2, false), bounded(3, 1, false), bounded(2, 1, true)}
	fullBounds  = []bound{
		bounded(2, 4, false), bounded(2, 3, true), anywhere(bounded(3, 2, false)), bounded(3, 3, false),
		anywhere(bounded(3, 1, true)),
		bounded(4, 1, false), bounded(4, 1, true),
	}
)

// No schedule within the bounds breaks an invariant, and every schedule ends with all records
// delivered and committed. If MODEL_STATES names a file, the test uses the full bounds and writes
// the number of distinct states to the file. The number must not fall below the recorded one.
func TestModelHoldsInEverySchedule(t *testing.T) {
	bounds, out := quickBounds, os.Getenv("MODEL_STATES")
	if out != "" {
		bounds = fullBounds
		defer debug.SetGCPercent(debug.SetGCPercent(200))
	}
	states := 0
	for _, b := range bounds {
		begun := time.Now()
		s := newSearch(newProtocol(mutantNone, b))
		if v := s.run(); v != nil {
			t.Fatalf("found a violation after %d states:\n%s", s.states(), strings.Join(s.trace(v), "\n"))
		}
		t.Logf("%d records, %d faults: %d states, %d deep, %v", b.records, b.faults, s.states(), s.depth,
			time.Since(begun).Round(time.Millisecond))
		states += s.states()
	}
	if out == "" {
		return
	}
	recorded, err := os.ReadFile("testdata/model_states.txt")
	if err != nil {
		t.Fatal(err)
	}
	if least, err := strconv.Atoi(strings.TrimSpace(string(recorded))); err != nil || states < least {
		t.Errorf("searched %d distinct states, want at least %d (%v)", states, least, err)
	}
	if err := os.WriteFile(out, []byte(strconv.Itoa(states)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// For every mutant, the search finds a schedule that breaks an invariant.
func TestModelCatchesEveryMutant(t *testing.T) {
	if os.Getenv("MODEL_STATES") == "" {
		t.Skip("takes seconds of CPU: run make model")
	}
	for _, tt := range []struct {
		mutant mutant
		bound  bound
		broken string // prefix of the violation
	}{
		{mutantUnanswered, bounded(2, 1, false), "recorded range changed"},
		{mutantUnrecorded, bounded(2, 0, false), "a request before its cut is stored"},
		{mutantIgnoreCuts, bounded(2, 1, false), "recorded range changed"},
		{mutantOwnSettings, bounded(3, 1, false), "recorded range changed"},
		{mutantForgetCuts, bounded(3, 1, false), "recorded range changed"},
		{mutantWatermark, bounded(3, 0, false), "commit passes an undelivered record"},
		{mutantRevoked, bounded(2, 1, false), ""},
		{mutantLost, bounded(2, 1, false), ""},
		{mutantIDWithoutRange, bounded(3, 1, false), "payload ID with two bodies"},
		{mutantIDWithoutEpoch, bounded(3, 1, true), "payload ID for two ranges"},
		{mutantIDWithoutTopic, bounded(2, 1, true), "payload ID for two ranges"},
		{mutantGap, bounded(3, 2, false), "recorded range changed"},
		{mutantDrain, bounded(3, 2, false), "recorded range changed"},
		{mutantFloor, bounded(2, 0, false), ""},
		{mutantTrustForeign, bounded(2, 1, true), ""},
		{mutantIgnoreEpoch, bounded(3, 1, true), ""},
		{mutantRecordInFlight, bounded(3, 0, false), "a request before its cut is stored"},
		{mutantDeliverRejected, bounded(3, 0, false), "commit passes an undelivered record"},
	} {
		t.Run(string(tt.mutant), func(t *testing.T) {
			s := newSearch(newProtocol(tt.mutant, tt.bound))
			v := s.run()
			if v == nil {
				t.Fatalf("found no violation in %d states", s.states())
			}
			trace := s.trace(v)
			t.Logf("%d states, %d transitions:\n%s", s.states(), len(trace)-1, strings.Join(trace, "\n"))
			if !strings.HasPrefix(v.label.broken, tt.broken) {
				t.Errorf("found %q, want prefix %q", v.label.broken, tt.broken)
			}
		})
	}
}

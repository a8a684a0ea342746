package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// produced returns a ledger that expects the given number of records, with the numbers of the calls
// that become events and of the other calls.
func produced(records int64) (l *ledger, events, others []string) {
	l = newLedger()
	g := segmenttest.New(1)
	for n := range records {
		_, calls := g.Record(n)
		l.expect(calls)
		for i, reason := range calls {
			number := strconv.FormatInt(segmenttest.Number(n, i), 10)
			if reason == transform.None {
				events = append(events, number)
			} else {
				others = append(others, number)
			}
		}
	}
	return l, events, others
}

func accepted(identities ...string) ldtest.Request {
	return ldtest.Request{Accepted: true, Identities: identities}
}

func (a account) want(t *testing.T, missing, duplicates, unexpected int) {
	t.Helper()
	if a.missing != int64(missing) || a.duplicates != int64(duplicates) || a.unexpected != int64(unexpected) {
		t.Errorf("missing %d, duplicates %d, unexpected %d, want %d, %d, %d (%s)",
			a.missing, a.duplicates, a.unexpected, missing, duplicates, unexpected, a.example)
	}
}

func TestLedgerBalancesWhenEachEventArrivesOnce(t *testing.T) {
	l, events, _ := produced(1000)
	l.account().want(t, len(events), 0, 0)
	for _, event := range slices.Backward(events) { // in any order
		l.addRequest(accepted(event))
	}
	l.account().want(t, 0, 0, 0)
	if len(l.awaited) != 0 || l.base != 1000 {
		t.Errorf("the ledger still holds %d records, starting at %d", len(l.awaited), l.base)
	}
}

func TestLedgerCountsLikeLaunchDarkly(t *testing.T) {
	l, events, _ := produced(100)
	n := len(events)
	l.addRequest(ldtest.Request{Identities: events}) // rejected, or failed without effect
	l.account().want(t, n, 0, 0)
	l.addRequest(ldtest.Request{Accepted: true, Identities: events, Drops: []ldtest.Drop{{Index: 3}, {Index: 4}}})
	l.account().want(t, 2, 0, 0)
	l.addRequest(ldtest.Request{Accepted: true, Duplicate: true, Identities: events}) // recognized by its payload ID
	l.account().want(t, 2, 0, 0)
	l.addRequest(accepted(events[2:5]...)) // one event more than is missing
	l.account().want(t, 0, 1, 0)
	l.addRequest(accepted(events...))
	l.account().want(t, 0, 1+n, 0)
}

func TestLedgerCountsUnexpectedEvents(t *testing.T) {
	l, events, others := produced(100)
	l.addRequest(accepted(others[0]))
	if a := l.account(); !strings.Contains(a.example, "not_track") {
		t.Errorf("example: %q", a.example)
	}
	l.addRequest(accepted("", "x", "-1", "123456789", strconv.Itoa(segmenttest.MaxCalls-1))) // record 0 has one call
	l.account().want(t, len(events), 0, 6)
}

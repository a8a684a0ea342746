package main

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// ledger compares the produced calls with the events counted by LaunchDarkly, independently of the
// program. It keeps one byte per record, starting with the oldest record whose events have not all
// arrived.
type ledger struct {
	mu   sync.Mutex             // guards the fields below
	gen  *segmenttest.Generator // regenerates records
	base int64                  // number of the first record in awaited; all events of earlier records have arrived

	// awaited has one byte per record, starting at base. Each set bit marks a call whose event has
	// not arrived yet.
	awaited []byte

	truth      [transform.Reasons]int64 // calls produced, by expected reason
	arrived    int64                    // expected events that have arrived
	duplicates int64                    // events that had already arrived under another payload ID
	unexpected int64                    // events that were never produced or should have been filtered or rejected
	example    string                   // describes the first unexpected event
}

func newLedger() *ledger { return &ledger{gen: segmenttest.New(seed)} }

// expect adds the calls of the next record. It must be called before the record is produced.
func (l *ledger) expect(calls []transform.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := byte(0)
	for i, reason := range calls {
		l.truth[reason]++
		if reason == transform.None {
			events |= 1 << i
		}
	}
	l.awaited = append(l.awaited, events)
}

// addRequest adds a request's events, unless LaunchDarkly rejected the request or ignored it as a
// duplicate.
func (l *ledger) addRequest(r ldtest.Request) {
	if !r.Accepted || r.Duplicate {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	drops := r.Drops
	for i, identity := range r.Identities {
		if len(drops) > 0 && drops[0].Index == i {
			drops = drops[1:] // LaunchDarkly dropped this event, so it stays missing
			continue
		}
		l.addEvent(identity)
	}
	for len(l.awaited) > 0 && l.awaited[0] == 0 {
		l.base++
		l.awaited = l.awaited[1:]
	}
}

// addEvent adds one event, identified by its number. The caller must hold mu.
func (l *ledger) addEvent(identity string) {
	number, err := strconv.ParseInt(identity, 10, 64)
	n, i := segmenttest.CallOf(number)
	if err != nil || number < 0 || n >= l.base+int64(len(l.awaited)) {
		l.addUnexpected("an event with the number %q, which was never produced", identity)
		return
	}
	if at, bit := n-l.base, byte(1)<<i; at >= 0 && l.awaited[at]&bit != 0 {
		l.awaited[at] &^= bit
		l.arrived++
		return
	}
	switch _, calls := l.gen.Record(n); {
	case i >= len(calls):
		l.addUnexpected("an event with the number %q, which was never produced", identity)
	case calls[i] != transform.None:
		l.addUnexpected("an event of record %d, call %d, which should have been %s: %s",
			n, i, calls[i].Outcome(), calls[i])
	default:
		l.duplicates++
	}
}

// addUnexpected counts an event that must not exist. The caller must hold mu.
func (l *ledger) addUnexpected(format string, a ...any) {
	if l.unexpected++; l.unexpected == 1 {
		l.example = fmt.Sprintf(format, a...)
	}
}

// account is a snapshot of a ledger.
type account struct {
	truth                                    [transform.Reasons]int64
	arrived, missing, duplicates, unexpected int64
	records                                  int64  // records produced
	settled                                  int64  // records before the first one with a missing event
	example                                  string // describes the first unexpected event; "" if there is none
}

// account returns a snapshot of the ledger.
func (l *ledger) account() account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return account{
		l.truth, l.arrived, l.truth[transform.None] - l.arrived, l.duplicates, l.unexpected,
		l.base + int64(len(l.awaited)), l.base, l.example,
	}
}

package main

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// ledger compares what was produced with what LaunchDarkly counts. It asks the program nothing. Its memory is a byte for
// each record from the oldest on whose event is on its way.
type ledger struct {
	mu   sync.Mutex
	gen  *segmenttest.Generator // guards: to see again what a record was
	base int64                  // guards: no event of a record below is awaited

	// awaited has a byte for each record from base on, and in it a bit for each call whose event has not arrived.
	awaited []byte // guards

	truth      [transform.Reasons]int64 // guards: calls produced, by what must become of them
	arrived    int64                    // guards: events that were awaited
	duplicates int64                    // guards: events that had arrived before, under another payload ID
	unexpected int64                    // guards: events of calls that are none, and of calls that we did not produce
	strange    string                   // guards: the first of these
}

func newLedger(seed uint64) *ledger { return &ledger{gen: segmenttest.New(seed)} }

// expect notes the next record, before it is produced.
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

// received takes in a request that LaunchDarkly received. It is a Config.OnRequest of the fake.
func (l *ledger) received(r ldtest.Request) {
	if !r.Accepted || r.Duplicate {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	drops := r.Drops
	for i, identity := range r.Identities {
		if len(drops) > 0 && drops[0].Index == i {
			drops = drops[1:] // LaunchDarkly drops it: it is missing
			continue
		}
		l.arrive(identity)
	}
	for len(l.awaited) > 0 && l.awaited[0] == 0 {
		l.base++
		l.awaited = l.awaited[1:]
	}
}

// arrive takes in one event by its number. The caller holds the mutex.
func (l *ledger) arrive(identity string) {
	number, err := strconv.ParseInt(identity, 10, 64)
	n, i := segmenttest.CallOf(number)
	if err != nil || number < 0 || n >= l.base+int64(len(l.awaited)) {
		l.unexpect("an event with the number %q, which was not produced", identity)
		return
	}
	if at, bit := n-l.base, byte(1)<<i; at >= 0 && l.awaited[at]&bit != 0 {
		l.awaited[at] &^= bit
		l.arrived++
		return
	}
	switch _, calls := l.gen.Record(n); {
	case i >= len(calls):
		l.unexpect("an event with the number %q, which was not produced", identity)
	case calls[i] != transform.None:
		l.unexpect("an event of record %d, call %d, which was to be "+calls[i].Outcome().String()+": "+calls[i].String(), n, i)
	default:
		l.duplicates++
	}
}

// unexpect counts an event that should not be. The caller holds the mutex.
func (l *ledger) unexpect(format string, a ...any) {
	if l.unexpected++; l.unexpected == 1 {
		l.strange = fmt.Sprintf(format, a...)
	}
}

// account is what a ledger says.
type account struct {
	truth                                    [transform.Reasons]int64
	arrived, missing, duplicates, unexpected int64
	strange                                  string // the first unexpected event; "" if there is none
}

func (l *ledger) account() account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return account{l.truth, l.arrived, l.truth[transform.None] - l.arrived, l.duplicates, l.unexpected, l.strange}
}

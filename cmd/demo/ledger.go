package main

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// ledger compares the produced calls with the events that LaunchDarkly counts. It asks the program
// nothing. It holds one byte per record, from the oldest record whose event has not arrived.
type ledger struct {
	mu   sync.Mutex             // guards the fields below
	gen  *segmenttest.Generator // generates a record again
	base int64                  // every event of the records below it has arrived

	// awaited has one byte per record, starting at base, with one bit per call whose event has not
	// arrived.
	awaited []byte

	truth      [transform.Reasons]int64 // calls produced, by expected reason
	arrived    int64                    // events that were awaited
	duplicates int64                    // events that had already arrived under another payload ID
	unexpected int64                    // events of calls that are filtered, rejected, or were not produced
	strange    string                   // the first of these
}

func newLedger() *ledger { return &ledger{gen: segmenttest.New(seed)} }

// expect adds the next record. It is called before the record is produced.
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

// received adds a request that LaunchDarkly received. It is the fake's Config.OnRequest.
func (l *ledger) received(r ldtest.Request) {
	if !r.Accepted || r.Duplicate {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	drops := r.Drops
	for i, identity := range r.Identities {
		if len(drops) > 0 && drops[0].Index == i {
			drops = drops[1:] // LaunchDarkly drops it, so it is missing
			continue
		}
		l.arrive(identity)
	}
	for len(l.awaited) > 0 && l.awaited[0] == 0 {
		l.base++
		l.awaited = l.awaited[1:]
	}
}

// arrive adds one event by its number. The caller holds the mutex.
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

// account is a ledger's result.
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

//go:build linux

package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// trimmed returns evidence of a log with four events, of which Kafka deleted the first two. A batch
// with the second and the third event had been sent, but not committed.
func trimmed() *Evidence {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	e := &Evidence{Ends: []int64{4}, Final: []int64{4}}
	for offset, n := range []int{3, 4, 5, 6} {
		e.Produced = append(e.Produced, Record{Number: n, Offset: int64(offset), Sent: at(0), Acked: at(0)})
	}
	e.Produced[0].Lost, e.Produced[1].Lost = at(20), at(20)
	e.Commits = []Commit{
		{Time: at(5), Cuts: []int64{1, 3}}, {Time: at(30), Offset: 2, Cuts: []int64{3, 4}}, {Time: at(50), Offset: 4},
	}
	e.Requests = []Request{
		{Arrived: at(9), Done: at(10), ID: "a", Hash: ldtest.Hash{1}, Numbers: []int{4, 5}, Accepted: true},
		{Arrived: at(39), Done: at(40), ID: "b", Hash: ldtest.Hash{2}, Numbers: []int{5}, Accepted: true},
		{Arrived: at(41), Done: at(42), ID: "c", Hash: ldtest.Hash{3}, Numbers: []int{6}, Accepted: true},
	}
	return e
}

// elected returns evidence of a log with three events. When a lagging replica was elected, the
// second and third event were lost, and two others took their offsets.
func elected() *Evidence {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	e := &Evidence{Ends: []int64{3}, Final: []int64{3}, Unclean: map[int32]time.Time{0: at(20)}}
	e.Produced = []Record{
		{Number: 3, Offset: 0, Acked: at(0)}, {Number: 4, Offset: 1, Acked: at(0), Lost: at(20)},
		{Number: 5, Offset: 2, Acked: at(0), Lost: at(20)},
		{Number: 6, Offset: 1, Acked: at(25)}, {Number: 7, Offset: 2, Acked: at(25)},
	}
	e.Commits = []Commit{
		{Time: at(5), Cuts: []int64{1, 3}}, {Time: at(12), Offset: 1, Cuts: []int64{3}}, {Time: at(16), Offset: 3},
		{Time: at(30), Offset: 1, Cuts: []int64{2, 3}}, {Time: at(50), Offset: 3},
	}
	e.Requests = []Request{
		{Arrived: at(9), Done: at(10), ID: "a", Numbers: []int{3}, Accepted: true},
		{Arrived: at(14), Done: at(15), ID: "b", Numbers: []int{4, 5}, Accepted: true},
		{Arrived: at(39), Done: at(40), ID: "c", Numbers: []int{6}, Accepted: true},
		{Arrived: at(41), Done: at(42), ID: "d", Numbers: []int{7}, Accepted: true},
	}
	return e
}

// replayedLog returns evidence of a log whose offset an operator set from 2 to 1.
func replayedLog() []*Evidence {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	e := &Evidence{Ends: []int64{3}, Final: []int64{3}}
	for offset, n := range []int{3, 4, 5} {
		e.Produced = append(e.Produced, Record{Number: n, Offset: int64(offset), Acked: at(0)})
	}
	e.Commits = []Commit{
		{Time: at(5), Cuts: []int64{2}}, {Time: at(12), Offset: 2}, {Time: at(21), Offset: 1, Operator: true},
		{Time: at(30), Offset: 1, Cuts: []int64{3}}, {Time: at(50), Offset: 3},
	}
	e.Requests = []Request{
		{Arrived: at(9), Done: at(10), ID: "a", Numbers: []int{3, 4}, Accepted: true},
		{Arrived: at(39), Done: at(40), ID: "b", Numbers: []int{4, 5}, Accepted: true},
	}
	return e.split([]reset{{time: at(20), from: map[int32]int64{0: 1}, to: map[int32]int64{0: 2}}})
}

func TestLossesAreAllowedOnlyWhereProvoked(t *testing.T) {
	reset := func() *Evidence { return replayedLog()[1] }
	before := func() *Evidence { return replayedLog()[0] }
	for name, evidence := range map[string]func() *Evidence{
		"trimmed": trimmed, "elected": elected, "before a reset": before, "after a reset": reset,
	} {
		if broken := evidence().Check(); len(broken) > 0 {
			t.Errorf("%s: unmodified evidence: %q", name, broken)
		}
	}
	for _, test := range []struct {
		want  string
		of    func() *Evidence
		spoil func(*Evidence)
	}{
		{"missing: event 6", trimmed, func(e *Evidence) { e.Requests[2].Accepted = false }},
		{"counted twice: event 5", trimmed, func(e *Evidence) {
			e.Produced[0].Lost, e.Produced[1].Lost = time.Time{}, time.Time{}
		}},
		{"counted twice: event 4", trimmed, func(e *Evidence) { e.Requests[1].Numbers = []int{4, 5} }},
		{"committed before it was delivered: commit 2", trimmed,
			func(e *Evidence) { e.Produced[0].Lost = e.Commits[1].Time.Add(time.Second) }},
		{"committed offset decreased: partition 0, from 3", elected,
			func(e *Evidence) { e.Unclean[0] = e.Commits[3].Time.Add(time.Second) }},
		{"committed offset decreased: partition 0, from 3", elected, func(e *Evidence) { e.Commits[3].Offset = 0 }},
		{"committed offset decreased: partition 0, from 2", elected, func(e *Evidence) {
			k := e.Commits[3]
			e.Commits = append(e.Commits[:4:4], Commit{Time: k.Time, Offset: 2, Cuts: []int64{3}}, k, e.Commits[4])
		}},
		{"missing: event 7", elected, func(e *Evidence) { e.Requests = e.Requests[:3] }},
		{"committed before it was delivered: commit 3", elected, func(e *Evidence) { e.Commits[4].Time = e.Commits[3].Time }},
		{"missing: event 5", reset, func(e *Evidence) { e.Requests[0].Numbers = []int{4} }},
		{"delivered from below the group's offset: event 3", reset,
			func(e *Evidence) { e.Requests[0].Numbers = []int{3, 4, 5} }},
		{"missing: event 4", before, func(e *Evidence) { e.Requests[0].Numbers = []int{3} }},
		{"committed offset decreased: partition 0, from 3", reset,
			func(e *Evidence) { e.Commits = append(e.Commits, e.Commits[1]) }},
	} {
		e := test.of()
		test.spoil(e)
		if got := strings.Join(e.Check(), "\n"); !strings.Contains("\n"+got, "\n"+test.want) {
			t.Errorf("want %q, got:\n%s", test.want, got)
		}
	}
}

func TestRangeIsSentWithoutItsDeletedEvents(t *testing.T) {
	e := trimmed()
	e.Produced[1].Lost = time.Time{}
	e.Commits[0].Cuts, e.Commits[1] = []int64{4}, Commit{Time: e.Commits[1].Time, Cuts: []int64{4}}
	e.Requests = []Request{e.Requests[1]}
	e.Requests[0].Numbers = []int{4, 5, 6} // all events but the deleted one
	if broken := e.Check(); len(broken) > 0 {
		t.Errorf("got %q", broken)
	}
	e.Requests[0].Arrived = e.Produced[0].Lost.Add(-time.Millisecond)
	if broken := e.Check(); len(broken) != 1 ||
		!strings.HasPrefix(broken[0], "sent before its cut was committed: payload ID b") {
		t.Errorf("sent before the deletion: got %q", broken)
	}
}

func TestOffsetBeyondTheEndCountsAsNone(t *testing.T) {
	at := time.UnixMilli(2000)
	e := &Evidence{
		Since: at, From: map[int32]int64{}, Ends: []int64{2}, Final: []int64{2},
		Produced: []Record{{Number: 3, Offset: 0}, {Number: 4, Offset: 1, Acked: at}},
		Commits: []Commit{
			{Time: at, Offset: 1001, Operator: true}, {Time: at, Offset: 0, Cuts: []int64{2}},
			{Time: at.Add(time.Second), Offset: 2},
		},
		Requests: []Request{{
			Arrived: at.Add(time.Millisecond), Done: at.Add(time.Millisecond), ID: "a", Numbers: []int{3, 4}, Accepted: true,
		}},
	}
	if broken := e.Check(); len(broken) > 0 {
		t.Errorf("got %q", broken)
	}
}

//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// good returns evidence without broken invariants. It has one partition with three events, a
// filtered record, and a poisoned record, delivered in two requests.
func good() *Evidence {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	numbers := []int{0, 1, 3, 202, 4} // by offset
	e := &Evidence{Clean: true, Ends: []int64{5}, Final: []int64{5}}
	for offset, n := range numbers {
		e.Produced = append(e.Produced, Record{Number: n, Offset: int64(offset), Sent: at(0), Acked: at(0)})
	}
	e.Commits = []Commit{
		{Time: at(0), Offset: 0}, {Time: at(5), Offset: 0, Cuts: []int64{3, 5}}, {Time: at(20), Offset: 3, Cuts: []int64{5}},
		{Time: at(40), Offset: 5},
	}
	e.Samples = []Commit{e.Commits[0], e.Commits[3]}
	e.Requests = []Request{
		{Arrived: at(8), ID: "b", Hash: ldtest.Hash{2}, Numbers: []int{202, 4}}, // rejected
		{Arrived: at(9), Done: at(10), ID: "a", Hash: ldtest.Hash{1}, Numbers: []int{0, 3}, Accepted: true},
		{Arrived: at(29), Done: at(30), ID: "c", Hash: ldtest.Hash{3}, Numbers: []int{4}, Accepted: true},
	}
	e.Letters = []Letter{{Time: at(35), Offset: 3, Number: 202, Reason: "refused"}}
	e.Gone = []Absence{{From: at(10), Deadline: at(40)}}
	return e
}

func TestCheckerFindsEachBrokenInvariant(t *testing.T) {
	if broken := good().Check(); len(broken) > 0 {
		t.Fatalf("unmodified evidence: %q", broken)
	}
	for want, spoil := range map[string]func(*Evidence){
		"missing: event 4": func(e *Evidence) { e.Requests[2].Accepted = false },
		"counted twice: event 4": func(e *Evidence) {
			r := e.Requests[2]
			r.ID = "d"
			e.Requests = append(e.Requests, r)
		},
		"stalled: event 4": func(e *Evidence) {
			e.Produced[4].Acked = e.Requests[2].Done.Add(-cleanStallLimit - 1)
		},
		"delivered, but should not have been: event 1": func(e *Evidence) { e.Requests[1].Numbers = []int{0, 1, 3} },
		"two bodies: payload ID b": func(e *Evidence) {
			r := e.Requests[0]
			r.Hash[0]++
			e.Requests = append(e.Requests, r)
		},
		"violation reported by LaunchDarkly: payload ID a": func(e *Evidence) {
			e.Requests[1].Faults = []string{"no event schema header"}
		},
		"no dead letter: event 202":    func(e *Evidence) { e.Letters = nil },
		"wrong dead letter: event 202": func(e *Evidence) { e.Letters[0].Reason = "malformed" },
		"wrong dead letter: event 0": func(e *Evidence) {
			e.Letters = append(e.Letters, Letter{Offset: 0, Reason: "refused"})
		},
		"dead letter without a record": func(e *Evidence) {
			e.Letters = append(e.Letters, Letter{Offset: 77, Number: 77})
		},
		"committed before it was delivered: commit 3": func(e *Evidence) { e.Commits[2].Time = e.Commits[1].Time },
		"committed before it was delivered: commit 5": func(e *Evidence) {
			e.Letters[0].Time = e.Letters[0].Time.Add(time.Second)
		},
		"sampled: committed before": func(e *Evidence) { e.Samples[1].Time = e.Samples[0].Time },
		"committed offset decreased: partition 0, from 5": func(e *Evidence) {
			e.Commits = append(e.Commits, e.Commits[2])
		},
		"not committed to the end": func(e *Evidence) { e.Final[0] = 4 },
		"sent before its cut was committed: payload ID b": func(e *Evidence) {
			e.Commits[1].Cuts = []int64{3}
		},
		"sent before its cut was committed: payload ID a": func(e *Evidence) {
			e.Commits[1].Time = e.Requests[2].Arrived
		},
		"partitions mixed": func(e *Evidence) {
			e.Produced[2].Partition = 1
		},
		"sent but never produced": func(e *Evidence) {
			e.Requests[0].Numbers[0] = -1
		},
		"not taken over in time: partition 0": func(e *Evidence) {
			e.Gone[0].Deadline = e.Requests[2].Arrived.Add(-time.Millisecond)
		},
		"sent twice in a clean run: payload ID a": func(e *Evidence) {
			r := e.Requests[1]
			r.Accepted = false
			e.Requests = append(e.Requests, r)
		},
		"sampled: cut forgotten: commit 0 of partition 0": func(e *Evidence) {
			e.Samples = []Commit{e.Commits[1], e.Commits[0], e.Commits[3]}
		},
		"not allowed by the model: at 00:00:01.020: recorded range changed": func(e *Evidence) {
			e.Commits[1].Cuts = []int64{5}
		},
		"not allowed by the model: at 00:00:01.040: commit passes": func(e *Evidence) {
			e.Letters[0].Time = e.Letters[0].Time.Add(time.Second)
		},
		"not allowed by the model: at 00:00:01.029: event counted twice": func(e *Evidence) {
			e.Requests[2].Numbers = []int{3}
		},
		"dead letters written twice": func(e *Evidence) {
			e.Letters = append(e.Letters, e.Letters[0])
		},
		"cut forgotten: commit 0 of partition 0 at 00:00:01.005 omits 3": func(e *Evidence) {
			e.Commits[0].Cuts, e.Commits[1].Cuts = []int64{3}, []int64{2, 5}
		},
		"wrong dead letter: event 202, partition 0, offset 3: reason \"other\"": func(e *Evidence) {
			e.Letters = append(e.Letters, Letter{Offset: 3, Number: 202, Reason: "other"})
		},
		"committed before it was delivered: commit 5 of partition 0 at 00:00:01.040 passes event 3": func(e *Evidence) {
			e.Requests[1].Done = e.Commits[3].Time.Add(time.Second)
		},
		"sent before its cut was committed: payload ID d": func(e *Evidence) {
			// The request has two of four events, but they are not one of the halves.
			e.Commits[1].Cuts = []int64{5}
			e.Requests = append(e.Requests, Request{Arrived: e.Requests[0].Arrived, ID: "d", Numbers: []int{3, 202}})
		},
	} {
		e := good()
		spoil(e)
		if got := strings.Join(e.Check(), "\n"); !strings.Contains("\n"+got, "\n"+want) {
			t.Errorf("want %q, got:\n%s", want, got)
		}
	}
}

func TestCheckerAllowsCorrectBehavior(t *testing.T) {
	for name, change := range map[string]func(*Evidence){
		"a rejected body is resent": func(e *Evidence) {
			e.Requests[0].Status = 400
			e.Requests = append(e.Requests, e.Requests[0])
		},
		"a cut that ends a range without events is omitted": func(e *Evidence) {
			e.Produced[0].Number, e.Requests[1].Numbers = 51, []int{3} // filtered
			e.Commits[0].Cuts = []int64{2}
		},
		"a range is recorded, sent, and passed in one millisecond": func(e *Evidence) {
			at := e.Requests[1].Arrived
			e.Commits[1].Time, e.Commits[2].Time, e.Requests[0].Arrived, e.Requests[1].Done = at, at, at, at
		},
		"a rejected batch is sent in halves of halves": func(e *Evidence) {
			e.Commits[1].Cuts, e.Commits[2] = []int64{5}, e.Commits[1]
			e.Commits[2].Cuts = []int64{5}
			for i, numbers := range [][]int{{0, 3, 202, 4}, {202}} {
				e.Requests = append(e.Requests,
					Request{Arrived: e.Requests[0].Arrived, ID: fmt.Sprint(i), Numbers: numbers})
			}
		},
	} {
		e := good()
		change(e)
		if broken := e.Check(); len(broken) > 0 {
			t.Errorf("%s: got %q", name, broken)
		}
	}
}

func TestStallDoesNotIncludeOutagesOfBrokers(t *testing.T) {
	e := good()
	done := e.Requests[2].Done
	e.Produced[4].Acked = done.Add(-cleanStallLimit - 1)
	e.Outages = []BrokerOutage{
		{done.Add(-2 * cleanStallLimit), done.Add(-cleanStallLimit + time.Second)}, // overlaps for about a second
		{done.Add(time.Second), done.Add(time.Minute)},
	}
	if broken := e.Check(); len(broken) > 0 {
		t.Errorf("got %q", broken)
	}
	e.Produced[4].Acked = done.Add(-cleanStallLimit - 2*time.Second)
	e.Outages[0].To = done.Add(-cleanStallLimit - time.Second)
	if broken := e.Check(); len(broken) == 0 {
		t.Error("a stall after an outage is not reported")
	}
}

func TestTakeoverIsNotJudgedWhileTheBrokersAreSlow(t *testing.T) {
	e := good()
	e.Gone[0].Deadline = e.Requests[2].Arrived.Add(-time.Millisecond)
	e.Produced[0].Sent = e.Gone[0].From
	e.Produced[0].Acked = e.Gone[0].From.Add(2 * slowAck)
	if broken := e.Check(); len(broken) > 0 {
		t.Errorf("got %q", broken)
	}
}

func TestSameSeedGivesTheSamePlan(t *testing.T) {
	limits := Limits{Topics: true, Brokers: 3, Session: 3 * time.Second}
	seen := map[Action]bool{}
	fire, calm := false, false
	for seed := range uint64(20) {
		one, other := NewPlan(seed, 2*time.Minute, limits), NewPlan(seed, 2*time.Minute, limits)
		members, down := 0, false
		for i, s := range one {
			if s != other[i] {
				t.Fatalf("seed %d, step %d: %v and %v", seed, i, s, other[i])
			}
			seen[s.Do] = true
			if s.Do == Kill || s.Do == Freeze {
				fire, calm = fire || s.Fire, calm || !s.Fire
			}
			switch s.Do {
			case Join:
				members++
			case Leave, Kill:
				members--
			case KillBroker, KillCoordinator:
				if down {
					t.Errorf("seed %d, step %d: second broker killed", seed, i)
				}
				down = true
			case RestartBrokers:
				down = false
			}
			if members < 1 || members > maxMembers || s.Do == Freeze && members < 2 {
				t.Errorf("seed %d, step %d, %v: %d members", seed, i, s, members)
			}
		}
	}
	if len(seen) != 22 || !fire || !calm {
		t.Errorf("actions %v, under fire %v, in calm %v: want all 22 actions, and both", seen, fire, calm)
	}
}

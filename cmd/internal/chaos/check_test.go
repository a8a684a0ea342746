//go:build linux

package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// good is evidence in which nothing is wrong: one partition with three events, a filtered record and a poisoned one,
// delivered in two requests.
func good() *Evidence {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1000 + ms)) }
	numbers := []int{0, 1, 3, 202, 4} // by offset
	e := &Evidence{Clean: true, Ends: []int64{5}, Final: []int64{5}}
	for offset, n := range numbers {
		e.Produced = append(e.Produced, Record{Number: n, Offset: int64(offset), Sent: at(0), Acked: at(0)})
	}
	e.Commits = []Commit{
		{Time: at(0), Offset: 0}, {Time: at(5), Offset: 0, Cuts: []int64{3, 5}}, {Time: at(20), Offset: 3, Cuts: []int64{5}}, {Time: at(40), Offset: 5},
	}
	e.Samples = []Commit{e.Commits[0], e.Commits[3]}
	e.Requests = []Request{
		{Arrived: at(8), ID: "b", Hash: ldtest.Hash{2}, Numbers: []int{202, 4}}, // refused
		{Arrived: at(9), Done: at(10), ID: "a", Hash: ldtest.Hash{1}, Numbers: []int{0, 3}, Taken: true},
		{Arrived: at(29), Done: at(30), ID: "c", Hash: ldtest.Hash{3}, Numbers: []int{4}, Taken: true},
	}
	e.Letters = []Letter{{Time: at(35), Offset: 3, Reason: "refused"}}
	e.Gone = []Absence{{From: at(10), Deadline: at(40)}}
	return e
}

func TestCheckerFindsEachBrokenInvariant(t *testing.T) {
	if broken := good().Check(); len(broken) > 0 {
		t.Fatalf("nothing is wrong, and yet: %q", broken)
	}
	for want, spoil := range map[string]func(*Evidence){
		"missing: event 4":                                  func(e *Evidence) { e.Requests[2].Taken = false },
		"counted twice: event 4":                            func(e *Evidence) { r := e.Requests[2]; r.ID = "d"; e.Requests = append(e.Requests, r) },
		"delivered what is not to be: event 1":              func(e *Evidence) { e.Requests[1].Numbers = []int{0, 1, 3} },
		"two bodies: payload ID b":                          func(e *Evidence) { r := e.Requests[0]; r.Hash[0]++; e.Requests = append(e.Requests, r) },
		"LaunchDarkly objects: payload ID a":                func(e *Evidence) { e.Requests[1].Faults = []string{"no event schema header"} },
		"no dead letter: event 202":                         func(e *Evidence) { e.Letters = nil },
		"wrong dead letter: event 202":                      func(e *Evidence) { e.Letters[0].Reason = "malformed" },
		"wrong dead letter: event 0":                        func(e *Evidence) { e.Letters = append(e.Letters, Letter{Offset: 0, Reason: "refused"}) },
		"dead letter of nothing":                            func(e *Evidence) { e.Letters = append(e.Letters, Letter{Offset: 77}) },
		"committed before it was delivered: commit 3":       func(e *Evidence) { e.Commits[2].Time = e.Commits[1].Time },
		"committed before it was delivered: commit 5":       func(e *Evidence) { e.Letters[0].Time = e.Letters[0].Time.Add(time.Second) },
		"sampled: committed before":                         func(e *Evidence) { e.Samples[1].Time = e.Samples[0].Time },
		"commit goes down: partition 0 from 5":              func(e *Evidence) { e.Commits = append(e.Commits, e.Commits[2]) },
		"not committed to the end":                          func(e *Evidence) { e.Final[0] = 4 },
		"posted before its cut was committed: payload ID b": func(e *Evidence) { e.Commits[1].Cuts = []int64{3} },
		"posted before its cut was committed: payload ID a": func(e *Evidence) { e.Commits[1].Time = e.Requests[2].Arrived },
		"partitions mixed":                                  func(e *Evidence) { e.Produced[2].Partition = 1 },
		"posted what was never produced":                    func(e *Evidence) { e.Requests[0].Numbers[0] = -1 },
		"not taken over in time: partition 0":               func(e *Evidence) { e.Gone[0].Deadline = e.Requests[2].Done.Add(-time.Millisecond) },
		"sent twice on a clean change":                      func(e *Evidence) { r := e.Requests[1]; r.Duplicate = true; e.Requests = append(e.Requests, r) },
		"dead letters written twice":                        func(e *Evidence) { e.Letters = append(e.Letters, e.Letters[0]) },
	} {
		e := good()
		spoil(e)
		if told := strings.Join(e.Check(), "\n"); !strings.Contains("\n"+told, "\n"+want) {
			t.Errorf("want %q, told:\n%s", want, told)
		}
	}
}

func TestTakeoverIsNotJudgedWhileTheBrokersAreSlow(t *testing.T) {
	e := good()
	e.Gone[0].Deadline = e.Requests[2].Done.Add(-time.Millisecond)
	e.Produced[0].Sent = e.Gone[0].From
	e.Produced[0].Acked = e.Gone[0].From.Add(2 * slowAck)
	if broken := e.Check(); len(broken) > 0 {
		t.Errorf("told %q", broken)
	}
}

func TestSameSeedGivesTheSamePlan(t *testing.T) {
	limits := Limits{Brokers: 3, Session: 3 * time.Second}
	seen := map[Action]bool{}
	for seed := range uint64(20) {
		one, other := NewPlan(seed, time.Minute, limits), NewPlan(seed, time.Minute, limits)
		members, down := 0, false
		for i, s := range one {
			if s != other[i] {
				t.Fatalf("seed %d, step %d: %v and %v", seed, i, s, other[i])
			}
			seen[s.Do] = true
			switch s.Do {
			case Join:
				members++
			case Leave, Kill:
				members--
			case KillBroker, KillCoordinator:
				if down {
					t.Errorf("seed %d, step %d: a second broker is killed", seed, i)
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
	if len(seen) != 10 {
		t.Errorf("actions %v: want all 10", seen)
	}
}

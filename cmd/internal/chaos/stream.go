//go:build linux

package chaos

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// ObservedKind is the kind of an observed step.
type ObservedKind string

// The kinds of observed steps.
const (
	CommitApplied   ObservedKind = "commit applied"   // the coordinator stored it
	RequestReceived ObservedKind = "request received" // at LaunchDarkly
)

// Observed is a step of the protocol that could be seen from outside: a commit that the broker stored, or a request that
// LaunchDarkly received.
type Observed struct {
	Time      time.Time // of a commit, in whole milliseconds
	Kind      ObservedKind
	Topic     string
	TopicID   string // of the log that it belongs to
	Partition int32
	Member    string // name of the process; empty if it is not known

	// Of a commit.
	Offset     int64
	Cuts       []int64 // beyond the offset, ascending
	MarkedID   string  // topic ID in the commit's metadata; empty if it has none
	MemberID   string  // empty if it is not known
	Generation int32   // or member epoch
	Operator   bool    // by an operator, while the group had no members

	// Of a request. First and Next bound the recorded range that its events are of; Next is 0 if there is none.
	First, Next int64
	Part        bool // the events are a part of the range, as a rejected batch is split
	PayloadID   string
	Hash        ldtest.Hash // of the body
	Events      int
	Status      int  // what the client was told; 0 if it got no readable response
	Accepted    bool // it took effect, or had before
	Duplicate   bool // it had taken effect before, under the same payload ID
}

// Stream yields the steps of all evidence in the order of time. A commit comes before the requests of the same millisecond,
// and the commits of one partition keep their order. Requests whose body was not read are left out. The evidence must have
// been checked, because the checker finds the ranges of requests.
func Stream(all []*Evidence) iter.Seq[Observed] {
	type step struct {
		milli    int64
		at       time.Time
		kind     ObservedKind
		evidence *Evidence
		i        int
	}
	var steps []step
	for _, e := range all {
		latest := map[int32]int64{}
		for i, k := range e.Commits {
			latest[k.Partition] = max(latest[k.Partition], k.Time.UnixMilli())
			steps = append(steps, step{latest[k.Partition], k.Time, CommitApplied, e, i})
		}
		for i, q := range e.Requests {
			if len(q.Numbers) > 0 {
				steps = append(steps, step{q.Arrived.UnixMilli(), q.Arrived, RequestReceived, e, i})
			}
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int {
		switch {
		case a.milli != b.milli:
			return cmp.Compare(a.milli, b.milli)
		case a.kind != b.kind:
			return cmp.Compare(a.kind, b.kind) // commits first
		case a.kind == CommitApplied:
			return 0
		default:
			return a.at.Compare(b.at)
		}
	})
	return func(yield func(Observed) bool) {
		for _, s := range steps {
			if !yield(s.evidence.observed(s.kind, s.i)) {
				return
			}
		}
	}
}

func (e *Evidence) observed(kind ObservedKind, i int) Observed {
	if kind == CommitApplied {
		k := e.Commits[i]
		return Observed{
			Time: k.Time, Kind: kind, Topic: e.Topic, TopicID: e.TopicID, Partition: k.Partition, Member: k.Member,
			Offset: k.Offset, Cuts: k.Cuts, MarkedID: k.TopicID, MemberID: k.MemberID, Generation: k.Generation, Operator: k.Operator,
		}
	}
	q := e.Requests[i]
	return Observed{
		Time: q.Arrived, Kind: kind, Topic: e.Topic, TopicID: e.TopicID, Partition: q.Partition, Member: q.Member,
		First: q.First, Next: q.Next, Part: q.Part, PayloadID: q.ID, Hash: q.Hash, Events: len(q.Numbers),
		Status: q.Status, Accepted: q.Taken, Duplicate: q.Duplicate,
	}
}

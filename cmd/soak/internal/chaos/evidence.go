//go:build linux

package chaos

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Evidence is what a run left behind for one log: a topic, one incarnation of a topic, or the part
// of a run between two changes of the group's offsets by an operator. [Evidence.Check] reads
// nothing else.
type Evidence struct {
	Topic   string
	TopicID string // as commits have it

	Produced []Record  // each acknowledged
	Requests []Request // in the order in which they took effect
	Commits  []Commit  // all that were made, those of one partition in order
	Samples  []Commit  // what a member that joined would have read at that time, likewise
	Letters  []Letter
	Gone     []Absence // members that went without leaving, while nothing else was wrong
	Ends     []int64   // by partition: the end of the log, after all members left
	Final    []int64   // by partition: what is committed then
	Clean    bool      // members only joined and left, and nothing failed

	// Since is when an operator set the group's offsets, and From the offsets where the group must
	// continue then, by partition. To holds the offsets that the group had committed before the
	// next such change: what lies beyond might not be delivered. Zero and nil: no such change.
	Since time.Time
	From  map[int32]int64
	To    map[int32]int64

	// Unclean holds, by partition, when a lagging replica was elected. The log has two versions
	// then: with the records that were lost, and with those that took their offsets.
	Unclean map[int32]time.Time
}

// Record is one record produced.
type Record struct {
	Number    int
	Partition int32
	Offset    int64
	Sent      time.Time
	Acked     time.Time
	Lost      time.Time // when Kafka lost or deleted it, on purpose; zero: never
}

// Request is one request that reached LaunchDarkly, whatever came of it.
type Request struct {
	Arrived   time.Time
	Done      time.Time // when it took effect, if it was taken; before the answer
	Member    string    // name; empty if it is not known
	ID        string
	Hash      ldtest.Hash // zero if the body was not read
	Numbers   []int       // of the records that its events came from; none if the body was not read
	Status    int         // what the client was told; 0 if it got no readable answer
	Accepted     bool
	Duplicate bool     // taken before, under the same payload ID
	Faults    []string // violations of LaunchDarkly's rules, and events that it dropped

	// Set by the checker: the recorded range that the events are of, and the version of the log
	// that has it. Next is 0 if there is none.
	Partition   int32
	First, Next int64
	version     int
}

// Commit is one commit of one partition.
type Commit struct {
	Time      time.Time // it was there by then
	Partition int32
	Offset    int64
	Cuts      []int64 // beyond the offset, ascending
	TopicID   string  // empty if the commit has none
	Operator  bool    // not by a member

	// Who sent it, if that is known.
	Member     string // name
	MemberID   string
	Generation int32
}

// Letter is one record of the dead-letter topic.
type Letter struct {
	Time      time.Time // when it was appended
	Partition int32     // of the record that it tells of
	Offset    int64     // of that record
	Number    int       // of that record, as its value has it
	Reason    string
}

// Absence is a member that was killed or stopped.
type Absence struct {
	From     time.Time
	Deadline time.Time // by which its partitions are delivered from again
}

// Kind is what must become of a record.
type Kind int

// The kinds of records, which follow from a record's number.
const (
	Delivered Kind = iota
	Filtered
	Rejected // by us
	Poisoned // LaunchDarkly refuses it
)

// KindOf says what must become of the record of that number.
func KindOf(number int) Kind {
	switch {
	case number%50 == 1:
		return Filtered
	case number%400 == 2:
		return Rejected
	case number%400 == 202:
		return Poisoned
	default:
		return Delivered
	}
}

// reason is what the dead letter of such a record says; empty: it has none.
func (k Kind) reason() string {
	switch k {
	case Rejected:
		return "no_event_name"
	case Poisoned:
		return "refused"
	default:
		return ""
	}
}

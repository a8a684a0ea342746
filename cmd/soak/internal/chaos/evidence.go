//go:build linux

package chaos

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Evidence is the outcome of a run for one log, which is a topic, one incarnation of a topic, or
// the part of a run between two changes of the group's offsets by an operator. [Evidence.Check]
// uses no other input.
type Evidence struct {
	Topic   string
	TopicID string // in the encoding used by commits

	Produced []Record  // acknowledged records
	Requests []Request // in the order in which they took effect
	Commits  []Commit  // every commit, in order within a partition
	Samples  []Commit  // committed offsets that a new member would have read, likewise
	Letters  []Letter
	Gone     []Absence // members that disappeared without leaving, while nothing else was wrong
	Ends     []int64   // by partition: end offset after all members left
	Final    []int64   // by partition: committed offset at that time
	Clean    bool      // members only joined and left, and nothing failed

	// Since is when an operator set the group's offsets. From holds, by partition, the offsets from
	// which the group must continue; a partition without an entry starts at the earliest offset. To
	// holds the offsets that the group had committed before the next such change; records beyond
	// them might not be delivered. Zero and nil mean that there was no such change.
	Since time.Time
	From  map[int32]int64
	To    map[int32]int64

	// Unclean holds, by partition, when a lagging replica was elected. The log then has two
	// versions, one with the lost records and one with the records that replaced them.
	Unclean map[int32]time.Time
}

// Record is a produced record.
type Record struct {
	Number    int
	Partition int32
	Offset    int64
	Sent      time.Time
	Acked     time.Time
	Lost      time.Time // when Kafka intentionally lost or deleted it; zero if it did not
}

// Request is a request that reached LaunchDarkly, regardless of its outcome.
type Request struct {
	Arrived   time.Time
	Done      time.Time // when it took effect, if accepted; before the response
	Member    string    // name; empty if unknown
	ID        string
	Hash      ldtest.Hash // zero if the body was not read
	Numbers   []int       // numbers of the records that contained its events; empty if the body was not read
	Status    int         // 0 if the client received no readable response
	Accepted  bool
	Duplicate bool     // accepted before, under the same payload ID
	Faults    []string // violations of LaunchDarkly's rules, and dropped events

	// The checker sets the fields below to the recorded range of the events and the version of the
	// log that contains it. Next is 0 if there is no such range.
	Partition   int32
	First, Next int64
	version     int
}

// Commit is a commit of one partition.
type Commit struct {
	Time      time.Time // when it was appended or fetched
	Partition int32
	Offset    int64
	Cuts      []int64 // offsets beyond Offset, ascending
	TopicID   string  // empty if the commit has none
	Operator  bool    // made by an operator rather than a member

	// The fields below identify the sender, if known.
	Member     string // name
	MemberID   string
	Generation int32
}

// Letter is a record of the dead-letter topic.
type Letter struct {
	Time      time.Time // when it was appended
	Partition int32     // partition of the original record
	Offset    int64     // offset of the original record
	Number    int       // number in the value
	Reason    string
}

// Absence describes a member that was killed or frozen.
type Absence struct {
	From     time.Time
	Deadline time.Time // time by which events from its partitions must be delivered again
}

// Kind is the expected outcome of a record.
type Kind int

// The number of a record determines its kind.
const (
	Delivered Kind = iota
	Filtered
	Rejected // by the mapping
	Poisoned // rejected by LaunchDarkly
)

// KindOf returns the kind of the record with the given number.
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

// reason returns the reason in the dead letter of such a record, or "" if it has no dead letter.
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

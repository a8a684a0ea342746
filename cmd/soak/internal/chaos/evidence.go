//go:build linux

package chaos

import (
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Evidence contains everything recorded about one log during a run. A log is a topic or one
// incarnation of a recreated topic. If an operator reset the offsets, each period between resets
// has separate evidence. [Evidence.Check] uses no other input.
type Evidence struct {
	Topic   string
	TopicID string // encoded as in commit metadata

	Produced []Record  // acknowledged records
	Requests []Request // in the order they took effect
	Commits  []Commit  // every commit, in order within a partition
	Samples  []Commit  // samples of the committed offsets, in order within a partition
	Letters  []Letter
	Gone     []Absence // absences that began while everything else was healthy
	Outages  []BrokerOutage
	Ends     []int64 // by partition: end offset after all members left
	Final    []int64 // by partition: committed offset after all members left
	Clean    bool    // members only joined and left, and nothing failed

	// Since is the time of the offset reset before this evidence, or zero if there was none.
	Since time.Time
	// From maps each partition to the offset from which the group must continue. A partition
	// without an entry starts at the earliest offset.
	From map[int32]int64
	// To maps each partition to the offset committed before the next reset. Records at or after
	// that offset, and records of a partition without an entry, need not be delivered. To is nil if
	// there was no next reset.
	To map[int32]int64

	// Unclean maps a partition to the time when a lagging replica was elected. The partition's log
	// then has two versions, one with the lost records and one with their replacements.
	Unclean map[int32]time.Time
}

// Record describes a record that was produced to the log.
type Record struct {
	Number    int
	Partition int32
	Offset    int64
	Sent      time.Time
	Acked     time.Time
	Lost      time.Time // when a fault made Kafka lose or delete the record; zero if Kafka kept it
}

// Request describes an HTTP request that reached LaunchDarkly, regardless of its outcome.
type Request struct {
	Arrived   time.Time
	Done      time.Time // when an accepted request took effect, just before the response
	Member    string    // member name; empty if unknown
	ID        string
	Hash      ldtest.Hash // zero if the body was not read
	Numbers   []int       // record numbers of its events; empty if the body was not read
	Status    int         // 0 if the client received no readable response
	Accepted  bool
	Duplicate bool     // already accepted under the same payload ID
	Faults    []string // violations of LaunchDarkly's rules, and dropped events

	// The checker stores the recorded range of the request's events, and the range's log version,
	// in the fields below. Next is 0 if there is no such range.
	Partition   int32
	First, Next int64
	version     int
}

// Commit is an offset commit for one partition.
type Commit struct {
	Time      time.Time // when the commit was appended or sampled
	Partition int32
	Offset    int64
	Cuts      []int64 // range ends beyond Offset, ascending
	TopicID   string  // empty if the commit has none
	Operator  bool    // made by an operator rather than a member

	// The fields below identify the sender, if known.
	Member     string // name
	MemberID   string
	Generation int32
}

// Letter is a record in the dead-letter topic.
type Letter struct {
	Time      time.Time // when it was appended
	Partition int32     // partition of the original record
	Offset    int64     // offset of the original record
	Number    int       // record number in the value
	Reason    string
}

// Absence is the period after a member was killed or frozen.
type Absence struct {
	From     time.Time
	Deadline time.Time // time by which requests must have resumed for every partition
}

// BrokerOutage is the period from the failure of a broker until all brokers were in sync again. Its length
// depends on the machine.
type BrokerOutage struct{ From, To time.Time }

// Kind is a record's expected outcome.
type Kind int

// A record's number determines its kind; see KindOf.
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

// reason returns the expected dead-letter reason, or "" if records of this kind are not
// dead-lettered.
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

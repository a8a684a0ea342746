package consumer

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/consumer/model"
)

// The model world consists of a group coordinator, the log of one partition, LaunchDarkly, and two
// members. A state of the world is a small value. It refers to larger objects by their number in a
// table.

// worldState is one state of the world.
type worldState struct {
	log      uint8 // number of the modelLog
	poison   int8  // offset of the record that LaunchDarkly always rejects; -1 if there is none
	owner    int8  // member to which the group assigned the partition; -1 if there is none
	stored   int32 // number of the stored commit; 0 if there is none
	observer int32 // number of the Observer, which holds the history
	members  [2]memberState
	late     inFlight // delayed commit of the current generation
	request  inFlight // delayed request
	faults   uint8    // number of faults so far
}

// inFlight is a delayed message whose sender no longer waits for a response.
type inFlight struct {
	number int32 // number of the commit or part; 0 if there is none
	log    uint8 // number of log changes before the sender read the log
}

// memberState is the state of one member: a process, its session, and the partition if the process
// believes that it owns the partition.
type memberState struct {
	phase   phase
	owner   int32 // number of the owner; 0 if there is none
	commit  commitPhase
	inGroup bool  // the group knows the session
	log     uint8 // number of log changes before the session began, or later without effect on it
	seen    uint8 // 1 + number of recreations before the process first saw the topic; 0 if it has not
	remade  bool  // the process has seen a recreation of the topic
}

type phase uint8

const (
	phaseOut      phase = iota // no session
	phaseIdle                  // in the group, without the partition
	phaseBegins                // commits its start offset before it reads any record
	phaseOwns                  // reads, commits, and delivers
	phaseDrains                // revoked; intake has stopped
	phaseCommits               // revoked; requests have ended, and the last commit is due
	phaseUnfenced              // released without a fence; only for mutants
)

type commitPhase uint8

const (
	commitNone     commitPhase = iota
	commitSent                 // in flight to the broker
	commitStale                // in flight to the broker, of an earlier generation
	commitApplied              // applied; the response is in flight
	commitRejected             // rejected; the response is in flight
)

// faultKind is a kind of fault.
type faultKind int

const (
	faultCrash        faultKind = iota // a member crashes
	faultExpel                         // the group removes a member without its knowledge
	faultRevoke                        // the group moves the partition
	faultRebalance                     // a new generation begins, in which the owner keeps the partition
	faultCommitLost                    // a commit or its response is lost
	faultCommitLate                    // a commit arrives after its connection broke
	faultResponseLost                  // LaunchDarkly's response is lost
	faultRequestLate                   // a request arrives after its connection broke
	faultLog                           // the log is truncated or the topic is recreated
	faultKinds
)

// bound limits a search.
type bound struct {
	records  int8             // number of records in the log, one of which is filtered
	faults   int              // maximum number of faults per schedule
	kinds    [faultKinds]bool // allowed kinds of faults
	anywhere bool             // start with all positions of the filtered and rejected records
}

// protocol holds the tables of one search. It is safe for concurrent use.
type protocol struct {
	*owners
	bound bound
	logs  []modelLog
	logOf map[modelLog]uint8

	observersMu sync.Mutex // guards the fields below
	observers   []observed
	observerOf  map[string]int32
	starters    [2]*starter // index 1: the process has seen a recreation of the topic
}

type observed struct {
	observer *model.Observer
	filtered int8
}

func newProtocol(m mutant, b bound) *protocol {
	p := &protocol{owners: newOwners(m), bound: b, logOf: map[modelLog]uint8{}, observerOf: map[string]int32{}}
	for filtered := range b.records {
		p.addLog(modelLog{records: b.records, filtered: filtered, parts: b.records, full: true})
		for _, same := range []bool{false, true} {
			p.addLog(modelLog{records: b.records, filtered: filtered, parts: b.records, full: true, recreated: true,
				same: same})
			for parts := int8(1); parts < b.records; parts++ {
				p.addLog(modelLog{records: b.records, filtered: filtered, parts: parts, full: true, same: same})
			}
		}
		for parts := int8(1); parts < b.records; parts++ {
			p.addLog(modelLog{records: b.records, filtered: filtered, parts: parts})
		}
	}
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "moves_total", Help: "Moves."}, []string{"cause"})
	for i := range p.starters {
		p.starters[i] = &starter{cfg: &Config{}, metrics: &metrics{moves: counter}, log: zap.NewNop(),
			topics: &topics{known: map[string]knownTopic{testTopic: {recreated: i == 1}}}}
	}
	return p
}

func (p *protocol) addLog(l modelLog) {
	p.logOf[l] = uint8(len(p.logs))
	p.logs = append(p.logs, l)
}

// initial returns the initial states of the search.
func (p *protocol) initial() (all []worldState) {
	b := p.bound
	for filtered := range b.records {
		observer := model.NewObserver(func(_ int32, _ int, offset int64) bool { return offset != int64(filtered) })
		log := p.logOf[modelLog{records: b.records, filtered: filtered, parts: b.records, full: true}]
		for poison := int8(-1); poison < b.records; poison++ {
			if poison == filtered || !b.anywhere && (filtered != 1 || poison != -1 && poison != 2) {
				continue
			}
			all = append(all, worldState{log: log, poison: poison, owner: -1, observer: p.observe(observer, filtered)})
		}
	}
	return all
}

// observe returns the number of an observer.
func (p *protocol) observe(o *model.Observer, filtered int8) int32 {
	key := string('0'+rune(filtered)) + o.Key()
	p.observersMu.Lock()
	defer p.observersMu.Unlock()
	n, known := p.observerOf[key]
	if !known {
		n = int32(len(p.observers))
		p.observerOf[key] = n
		p.observers = append(p.observers, observed{o, filtered})
	}
	return n
}

type ownerStep struct {
	owner int32
	op    ownerOp
}

type observerStep struct {
	observer int32
	kind     observerStepKind
	number   int32 // number of the commit or part, or an offset
	log      uint8
	accepted bool
}

type observerStepKind uint8

const (
	stepCommit observerStepKind = iota
	stepRequest
	stepLetter
	stepTruncated
)

type observerResult struct {
	observer int32
	broken   string
}

type beginStep struct {
	stored int32
	log    uint8
	member int
	remade bool
}

// label describes a transition. Its text is formatted only for traces.
type label struct {
	format string
	a, b   int
	broken string // invariant broken by the transition
}

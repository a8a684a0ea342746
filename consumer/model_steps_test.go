package consumer

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer/model"
)

// expander computes the successors of states. It belongs to one goroutine, and caches the results
// for owners and observers.
type expander struct {
	*protocol
	emit func(to worldState, label label)

	all      []*owner
	applied  map[ownerStep]int32
	observed map[observerStep]observerResult
	begun    map[beginStep]int32

	from  worldState
	moved bool // the state has a successor without a fault
}

func newExpander(p *protocol) *expander {
	return &expander{protocol: p, applied: map[ownerStep]int32{}, observed: map[observerStep]observerResult{},
		begun: map[beginStep]int32{}}
}

// get returns the owner with a number.
func (x *expander) get(n int32) *owner {
	if int(n) >= len(x.all) {
		x.mu.Lock()
		x.all = x.owners.all
		x.mu.Unlock()
	}
	return x.all[n]
}

// do applies an operation to the owner of a member, and returns the invariant that it broke, if
// any.
func (x *expander) do(m *memberState, op ownerOp) (broken string) {
	step := ownerStep{m.owner, op}
	n, known := x.applied[step]
	if !known {
		n = x.apply(m.owner, op)
		x.applied[step] = n
	}
	m.owner = n
	return x.get(n).broken
}

// observeStep passes a step to the observer, and returns the invariant that the step breaks, if
// any.
func (x *expander) observeStep(s *worldState, step observerStep) (broken string) {
	step.observer = s.observer
	result, known := x.observed[step]
	if !known {
		result = x.judge(step)
		x.observed[step] = result
	}
	s.observer = result.observer
	return result.broken
}

func (x *expander) judge(step observerStep) observerResult {
	x.observersMu.Lock()
	was := x.observers[step.observer]
	x.observersMu.Unlock()
	o := was.observer.Clone()
	var err error
	switch step.kind {
	case stepCommit:
		x.mu.Lock()
		c := x.commits[step.number]
		x.mu.Unlock()
		err = o.Commit(model.Commit{Log: int(step.log), Offset: c.offset, Cuts: c.cuts()})
	case stepRequest:
		r := x.partOf(step.number)
		offsets := make([]int64, len(r.offsets))
		for i := range offsets {
			offsets[i] = int64(r.offsets[i])
		}
		err = o.Request(model.Request{Log: int(step.log), Offsets: offsets, ID: r.id, Body: r.sum,
			Accepted: step.accepted})
	case stepLetter:
		o.DeadLetter(0, int64(step.number))
	case stepTruncated:
		o.Truncated(0, int64(step.number))
	}
	result := observerResult{observer: x.observe(o, was.filtered)}
	if err != nil {
		result.broken = err.Error()
	}
	return result
}

func (x *expander) partOf(n int32) modelPart {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.parts[n]
}

// emitProgress emits a transition without a fault.
func (x *expander) emitProgress(to worldState, l label) {
	x.moved = true
	x.emit(to, l)
}

// expand emits the successors of a state, including those that break an invariant.
func (x *expander) expand(from worldState) {
	x.from, x.moved = from, false
	for i := range from.members {
		x.memberSteps(i)
		x.emitAssign(i)
		x.groupFaults(i)
	}
	x.lateArrivals()
	x.logFaults()
	if !x.moved {
		x.checkSettled()
	}
}

// checkSettled checks a state whose only successors are faults: all records must be delivered and
// committed.
func (x *expander) checkSettled() {
	l := x.logs[x.from.log]
	x.observersMu.Lock()
	first := x.observers[x.from.observer].observer.Undelivered(0, l.end())
	x.observersMu.Unlock()
	x.mu.Lock()
	stored := x.commits[x.from.stored]
	x.mu.Unlock()
	switch {
	case first < l.end():
		x.emit(x.from, label{format: "nothing happens any more",
			broken: fmt.Sprintf("record %d is never delivered", first)})
	case stored.offset != l.end():
		x.emit(x.from, label{format: "nothing happens any more",
			broken: fmt.Sprintf("offset %d is never committed; committed offset is %d", l.end(), stored.offset)})
	}
}

// memberSteps emits the steps that a member takes on its own.
func (x *expander) memberSteps(i int) {
	m := x.from.members[i]
	if m.owner == 0 {
		return
	}
	is := x.get(m.owner)
	log := x.logs[x.from.log]
	ahead := log.changes() > int(m.log) // it has read records that the log no longer holds
	if m.phase == phaseOwns {
		if is.next < log.end() && !ahead {
			x.emitStep(i, ownerOp{kind: opMap, log: log}, "member %d reads record %d", int(is.next))
		}
		if is.open && (!is.cuts || log.end() <= is.next || x.mutant == mutantOwnSettings) {
			x.emitStep(i, ownerOp{kind: opAge, log: log}, "member %d seals at %d", int(is.next))
		}
	}
	x.commitSteps(i, is)
	if m.phase == phaseOwns || m.phase == phaseDrains || m.phase == phaseUnfenced {
		for _, send := range is.sends {
			for _, part := range send.parts {
				x.attempt(i, send, part)
			}
		}
	}
	switch m.phase {
	case phaseDrains:
		s := x.from
		broken := x.do(&s.members[i], ownerOp{kind: opAbandon})
		s.members[i].phase = phaseCommits
		x.emitProgress(s, label{"member %d stops sending", i, 0, broken})
	case phaseCommits:
		if m.commit == commitNone && !is.changed {
			x.emitRelease(i, x.from, "member %d releases the partition")
		}
		if s := x.from; m.commit == commitNone && is.changed && x.spendFault(&s, faultCommitLost) {
			x.emitRelease(i, s, "member %d cannot commit and releases the partition")
		}
	}
	if !m.inGroup || ahead {
		s := x.from
		if x.mutant == mutantLost && !m.inGroup { // the client has rejoined on its own
			s.members[i].inGroup = true
			x.emitProgress(s, label{"member %d learns that the partition is lost", i, 0, ""})
			return
		}
		broken := x.end(&s, i)
		x.emitProgress(s, label{"member %d learns that its session has ended", i, 0, broken})
	}
}

// emitStep emits an operation of a member's owner.
func (x *expander) emitStep(i int, op ownerOp, format string, arg int) {
	s := x.from
	broken := x.do(&s.members[i], op)
	x.emitProgress(s, label{format, i, arg, broken})
}

// end ends the session of a member. Like session.end, it fences the window first.
func (x *expander) end(s *worldState, i int) (broken string) {
	m := &s.members[i]
	broken = x.do(m, ownerOp{kind: opFence})
	*m = memberState{seen: m.seen, remade: m.remade}
	if s.owner == int8(i) {
		s.owner = -1
	}
	return broken
}

// emitRelease emits the end of a drain.
func (x *expander) emitRelease(i int, s worldState, format string) {
	broken := x.releasePartition(&s, i)
	x.emitProgress(s, label{format, i, 0, broken})
}

// releasePartition makes a member release the partition, and returns the broken invariant, if any.
func (x *expander) releasePartition(s *worldState, i int) (broken string) {
	m := &s.members[i]
	if s.owner == int8(i) {
		s.owner = -1
	}
	if x.mutant == mutantRevoked {
		m.phase = phaseUnfenced
		return ""
	}
	broken = x.do(m, ownerOp{kind: opFence})
	m.owner, m.phase, m.commit, m.log = 0, phaseIdle, commitNone, 0
	if !m.inGroup {
		*m = memberState{seen: m.seen, remade: m.remade}
	}
	return broken
}

// commitSteps emits the possible outcomes of a member's commit.
func (x *expander) commitSteps(i int, is *owner) {
	m := x.from.members[i]
	switch m.commit {
	case commitNone:
		if !is.due || !is.changed && m.phase == phaseCommits {
			return
		}
		s := x.from
		broken := x.do(&s.members[i], ownerOp{kind: opCommit})
		s.members[i].commit = commitSent
		if !m.inGroup {
			s.members[i].commit = commitStale
		}
		x.emitProgress(s, label{"member %d sends a commit", i, 0, broken})
	case commitSent:
		s := x.from
		s.members[i].commit = commitApplied
		broken := x.store(&s, is.commit, m.log)
		x.emitProgress(s, label{"the commit of member %d is applied", i, 0, broken})
		if s := x.from; x.spendFault(&s, faultCommitLost) {
			x.emitUnanswered(s, i, "the commit of member %d is lost")
		}
		if s := x.from; s.late.number == 0 && x.spendFault(&s, faultCommitLate) {
			s.late = inFlight{is.commit, m.log}
			x.emitUnanswered(s, i, "the connection of member %d breaks, and its commit is delayed")
		}
	case commitStale:
		s := x.from
		s.members[i].commit = commitRejected
		x.emitProgress(s, label{"the commit of member %d is rejected", i, 0, ""})
		if s := x.from; x.spendFault(&s, faultCommitLost) {
			x.emitUnanswered(s, i, "the commit of member %d is lost")
		}
	case commitApplied:
		s := x.from
		s.members[i].commit = commitNone
		broken := x.do(&s.members[i], ownerOp{kind: opStored})
		switch m.phase {
		case phaseBegins:
			s.members[i].phase = phaseOwns
		case phaseCommits:
			if b := x.releasePartition(&s, i); broken == "" {
				broken = b
			}
		}
		x.emitProgress(s, label{"member %d learns that its commit is stored", i, 0, broken})
		if s := x.from; x.spendFault(&s, faultCommitLost) {
			x.emitUnanswered(s, i, "the response to the commit of member %d is lost")
		}
	case commitRejected:
		s := x.from
		response := error(kerr.IllegalGeneration)
		if !m.inGroup {
			response = kerr.UnknownMemberID
		}
		var broken string
		if endCauseOf(response) != "" && x.mutant != mutantLost {
			broken = x.end(&s, i)
		} else {
			broken = x.do(&s.members[i], ownerOp{kind: opFailed})
			s.members[i].commit = commitNone
		}
		x.emitProgress(s, label{"member %d learns that its commit is rejected", i, 0, broken})
	}
}

// store makes the broker store a commit. The broker keeps offsets by topic name.
func (x *expander) store(s *worldState, commit int32, log uint8) (broken string) {
	s.stored = commit
	return x.observeStep(s, observerStep{kind: stepCommit, number: commit, log: log})
}

// emitUnanswered emits a commit that may have been written but got no response.
func (x *expander) emitUnanswered(s worldState, i int, format string) {
	var broken string
	if endCauseOf(fmt.Errorf("%w: broken", errUnanswered)) != "" && x.mutant != mutantUnanswered {
		broken = x.end(&s, i)
	} else {
		broken = x.do(&s.members[i], ownerOp{kind: opFailed})
		s.members[i].commit = commitNone
	}
	x.emit(s, label{format, i, 0, broken})
}

// attempt emits the possible outcomes of a request. A request lost without effect changes no state.
func (x *expander) attempt(i int, send ownerSend, part ownerPart) {
	var early string
	if !send.known {
		early = "a request before its cut is stored: " + spanName(send.first, send.next)
	}
	r := x.partOf(part.id)
	log := x.from.members[i].log
	done := ownerOp{kind: opDone, at: send.first, part: part.node}
	result := func(s worldState, l label) {
		if early != "" {
			l.broken = early
		}
		x.emitProgress(s, l)
	}
	for at := range len(r.offsets) {
		if int8(r.offsets[at]) != x.from.poison {
			continue
		}
		s := x.from
		broken := x.observeStep(&s, observerStep{kind: stepRequest, number: part.id, log: log})
		if len(r.offsets) == 1 {
			if int(log) == x.logs[s.log].changes() || int8(r.offsets[0]) < x.logs[s.log].parts &&
				!x.logs[s.log].recreated {
				x.observeStep(&s, observerStep{kind: stepLetter, number: int32(r.offsets[0])})
			}
		} else {
			done.kind = opSplit
		}
		x.do(&s.members[i], done)
		result(s, label{"LaunchDarkly rejects %[2]d events of member %[1]d", i, len(r.offsets), broken})
		return
	}
	s := x.from
	broken := x.observeStep(&s, observerStep{kind: stepRequest, number: part.id, log: log, accepted: true})
	unanswered := s
	if b := x.do(&s.members[i], done); broken == "" {
		broken = b
	}
	result(s, label{"LaunchDarkly accepts events from record %[2]d of member %[1]d", i, int(r.offsets[0]), broken})
	if unanswered != x.from && x.spendFault(&unanswered, faultResponseLost) {
		const format = "LaunchDarkly accepts events from record %[2]d of member %[1]d, and its response is lost"
		x.emit(unanswered, label{format, i, int(r.offsets[0]), ""})
	}
	if s := x.from; s.request.number == 0 && x.spendFault(&s, faultRequestLate) {
		s.request = inFlight{part.id, log}
		x.emit(s, label{"a request of member %d from record %d is delayed", i, int(r.offsets[0]), ""})
	}
}

// emitAssign emits the assignment of the partition to a member, which joins the group first if
// necessary. The member reads the committed offset after the new generation has begun.
func (x *expander) emitAssign(i int) {
	s := x.from
	if s.owner >= 0 && s.members[s.owner].phase != phaseOut || s.members[i].phase > phaseIdle {
		return
	}
	newGeneration(&s)
	s.owner = int8(i)
	m := &s.members[i]
	log := x.logs[s.log]
	incarnation := uint8(1)
	if log.recreated {
		incarnation = 2
	}
	switch {
	case !x.bound.kinds[faultLog]:
		m.seen = 0 // all processes see the same topic
	case m.seen == 0:
		m.seen = incarnation
	case m.seen != incarnation:
		m.seen, m.remade = incarnation, true
	}
	step := beginStep{s.stored, s.log, i, m.remade}
	owner, known := x.begun[step]
	if !known {
		owner = x.begin(step)
		x.begun[step] = owner
	}
	m.owner, m.inGroup, m.commit, m.log = owner, true, commitNone, uint8(log.changes())
	m.phase = phaseOwns
	if !x.get(m.owner).anchored {
		m.phase = phaseBegins
	}
	x.emitProgress(s, label{"member %d is assigned the partition", i, 0, ""})
}

// begin returns the owner that starts where starter decides.
func (x *expander) begin(step beginStep) int32 {
	log := x.logs[step.log]
	name := topicPartition{testTopic, 0}
	part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	part.Offset, part.LeaderEpoch = -1, -1
	x.mu.Lock()
	if step.stored != 0 {
		c := x.commits[step.stored]
		part.Offset, part.LeaderEpoch, part.Metadata = c.offset, c.epoch, &c.metadata
	}
	x.mu.Unlock()
	topic := kmsg.NewOffsetFetchResponseGroupTopic()
	topic.Topic, topic.Partitions = testTopic, []kmsg.OffsetFetchResponseGroupTopicPartition{part}
	group := kmsg.NewOffsetFetchResponseGroup()
	group.Topics = []kmsg.OffsetFetchResponseGroupTopic{topic}
	response := &kmsg.OffsetFetchResponse{Groups: []kmsg.OffsetFetchResponseGroup{group}}

	x.observersMu.Lock()
	defer x.observersMu.Unlock()
	starter := x.starters[0]
	if step.remade {
		starter = x.starters[1]
	}
	starter.ids = map[string]topicID{testTopic: log.id()}
	parsed, err := starter.parse(response)
	if err != nil {
		panic(err) // the response has no errors
	}
	at := parsed[0]
	b := log.bounds(name, at.epoch)
	if x.mutant == mutantIgnoreEpoch {
		clear(b.epochEnd)
	}
	at.end = b.end[name].offset
	foreign := at.recorded != log.id() && at.recorded != (topicID{})
	if x.mutant == mutantTrustForeign && foreign && at.offset <= at.end {
		at.cuts, at.epoch, at.committed = nil, -1, false
	} else if !starter.resolveCommitted(&at, b) {
		at = start{topicPartition: name, position: position{0, -1}, end: at.end}
	}
	return x.start(at, log.id(), modelMaxEvents-2*step.member)
}

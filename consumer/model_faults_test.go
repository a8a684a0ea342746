package consumer

// lateArrivals emits the arrival of delayed messages.
func (x *expander) lateArrivals() {
	if late := x.from.late; late.number != 0 {
		s := x.from
		s.late = inFlight{}
		broken := x.store(&s, late.number, late.log)
		x.emit(s, label{"the late commit is applied", 0, 0, broken})
	}
	if late := x.from.request; late.number != 0 {
		s := x.from
		s.request = inFlight{}
		broken := x.observeStep(&s, observerStep{kind: stepRequest, number: late.number, log: late.log, accepted: true})
		x.emit(s, label{"LaunchDarkly accepts the late request", 0, 0, broken})
	}
}

// newGeneration begins a new generation of the group. The broker then rejects commits of earlier
// generations.
func newGeneration(s *worldState) {
	s.late = inFlight{}
	for i := range s.members {
		if s.members[i].commit == commitSent {
			s.members[i].commit = commitStale
		}
	}
}

// groupFaults emits the faults of a member and of the group.
func (x *expander) groupFaults(i int) {
	m := x.from.members[i]
	if m.phase == phaseOut {
		return
	}
	if s := x.from; x.spendFault(&s, faultCrash) {
		s.members[i] = memberState{}
		x.emit(s, label{"member %d crashes, and its messages in flight are lost", i, 0, ""})
		if m.commit == commitSent && s.late.number == 0 && x.spendFault(&s, faultCommitLate) {
			s.late = inFlight{x.get(m.owner).commit, m.log}
			x.emit(s, label{"member %d crashes, and its commit is delayed", i, 0, ""})
		}
	}
	if s := x.from; s.owner == int8(i) && m.owner != 0 && x.spendFault(&s, faultExpel) {
		newGeneration(&s)
		s.owner = -1
		s.members[i].inGroup = false
		x.emit(s, label{"the group removes member %d", i, 0, ""})
	}
	if s := x.from; s.owner == int8(i) && m.phase == phaseOwns && x.spendFault(&s, faultRevoke) {
		broken := x.do(&s.members[i], ownerOp{kind: opStop})
		s.members[i].phase = phaseDrains
		x.emit(s, label{"the partition is revoked from member %d", i, 0, broken})
	}
	if s := x.from; s.owner == int8(i) && (m.commit == commitSent || s.late.number != 0) &&
		x.spendFault(&s, faultRebalance) {
		newGeneration(&s)
		x.emit(s, label{"the group rebalances, and member %d keeps the partition", i, 0, ""})
	}
}

// logFaults emits truncations and recreations of the log, and new records after them.
func (x *expander) logFaults() {
	log := x.logs[x.from.log]
	if log.changes() > 0 {
		if !log.full {
			for _, same := range []bool{false, true} {
				s := x.from
				now := log
				now.full, now.same = true, same
				s.log = x.logOf[now]
				x.emitProgress(s, label{"the lost records are replaced", 0, 0, ""})
			}
		}
		return
	}
	for parts := int8(1); parts < log.records; parts++ {
		if s := x.from; x.spendFault(&s, faultLog) {
			s.log = x.logOf[modelLog{records: log.records, filtered: log.filtered, parts: parts}]
			for i := range s.members {
				if m := &s.members[i]; m.owner != 0 && x.get(m.owner).next <= int64(parts) {
					m.log = 1
				}
			}
			broken := x.observeStep(&s, observerStep{kind: stepTruncated, number: int32(parts)})
			x.emit(s, label{"the log is truncated at %[2]d", 0, int(parts), broken})
		}
	}
	for _, same := range []bool{false, true} {
		for _, kept := range []bool{false, true} {
			if s := x.from; x.spendFault(&s, faultLog) {
				s.log = x.logOf[modelLog{records: log.records, filtered: log.filtered, parts: log.records, full: true,
					recreated: true, same: same}]
				if !kept {
					s.stored = 0
				}
				broken := x.observeStep(&s, observerStep{kind: stepTruncated})
				x.emit(s, label{"the topic is recreated", 0, 0, broken})
			}
		}
	}
}

// spendFault counts a fault, and reports whether the bound allows it.
func (x *expander) spendFault(s *worldState, kind faultKind) bool {
	if !x.bound.kinds[kind] || int(s.faults) >= x.bound.faults {
		return false
	}
	s.faults++
	return true
}

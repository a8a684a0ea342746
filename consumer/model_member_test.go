package consumer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// The part of a model member that owns a partition is the real code: an intake with its window. A
// state of the search refers to such an owner by number. To apply an operation to an owner, the
// search replays the operations that led to it on a new intake and window. It computes each result
// once and caches it.

// mutant names the rule that the members break.
type mutant string

const (
	mutantNone            mutant = ""
	mutantUnanswered      mutant = "an unanswered commit does not end the session"
	mutantUnrecorded      mutant = "a batch is sent before its cut is stored"
	mutantIgnoreCuts      mutant = "the next owner ignores recorded cuts"
	mutantOwnSettings     mutant = "a recorded range is sealed early"
	mutantForgetCuts      mutant = "commits omit cuts that are not reached yet"
	mutantWatermark       mutant = "the watermark passes an unfinished batch"
	mutantRevoked         mutant = "no fence after a revoke"
	mutantLost            mutant = "no fence after losing the partition"
	mutantIDWithoutRange  mutant = "payload ID does not depend on the body and the end of the range"
	mutantIDWithoutEpoch  mutant = "payload ID does not depend on the leader epoch"
	mutantIDWithoutTopic  mutant = "payload ID does not depend on the topic ID"
	mutantTrustForeign    mutant = "an offset committed for the old topic is trusted"
	mutantGap             mutant = "commits omit the end of a gap before recorded cuts"
	mutantDrain           mutant = "a drain seals part of a recorded range"
	mutantFloor           mutant = "the floor advances past an open batch"
	mutantIgnoreEpoch     mutant = "the leader epoch of the committed offset is not checked"
	mutantRecordInFlight  mutant = "a response records batches missing from the commit"
	mutantDeliverRejected mutant = "a batch counts as delivered when one of its halves is accepted"
)

const (
	modelRecords     = 4 // maximum number of records in the log
	modelDestination = "https://events.launchdarkly.com/bulk/env"
	modelMaxEvents   = modelRecords // limit of the first member; the second member's limit is smaller
)

// modelLog describes the log of the partition. There are few enough values to number them.
type modelLog struct {
	records   int8 // number of records in the full log
	filtered  int8 // offset of the filtered record
	recreated bool
	parts     int8 // offset of the first lost record; equal to records if none was lost
	full      bool // new records replaced the lost ones
	same      bool // the new records equal the lost ones
}

// changes returns the number of truncations and recreations of the log.
func (l modelLog) changes() int {
	if l.recreated || l.parts < l.records {
		return 1
	}
	return 0
}

func (l modelLog) end() int64 {
	if l.full {
		return int64(l.records)
	}
	return int64(l.parts)
}

func (l modelLog) id() topicID {
	if l.recreated {
		return topicID{2}
	}
	return topicID{1}
}

// epoch returns the leader epoch of a record.
func (l modelLog) epoch(offset int64) int32 {
	if !l.recreated && offset >= int64(l.parts) {
		return 1
	}
	return 0
}

// bounds returns the bounds of the log as its leader reports them.
func (l modelLog) bounds(name topicPartition, asked int32) bounds {
	end := position{l.end(), 0}
	if l.changes() > 0 && !l.recreated {
		end.epoch = 1
	}
	b := bounds{start: map[topicPartition]position{name: {0, 0}}, end: map[topicPartition]position{name: end},
		epochEnd: map[topicPartition]position{}}
	switch {
	case asked < 0:
	case asked < end.epoch:
		b.epochEnd[name] = position{int64(l.parts), 0}
	default:
		b.epochEnd[name] = position{l.end(), end.epoch}
	}
	return b
}

func (l modelLog) record(offset int64) *kgo.Record {
	value := int(offset)
	if !l.same && (l.recreated || offset >= int64(l.parts)) {
		value += modelRecords
	}
	r := &kgo.Record{Topic: testTopic, Offset: offset, LeaderEpoch: l.epoch(offset), Timestamp: time.UnixMilli(1),
		Value: track(value)}
	if offset == int64(l.filtered) {
		r.Value = page(0)
	}
	return r
}

// ownerOp is one operation on an owner.
type ownerOp struct {
	kind ownerOpKind
	log  modelLog // current log, for opMap and opAge
	at   int64    // first offset of the batch, for opDone and opSplit
	part uint8    // index of the part, for opDone and opSplit
}

type ownerOpKind uint8

const (
	opMap     ownerOpKind = iota // map the next record
	opAge                        // the open range reaches batch.max_age
	opStop                       // stop intake
	opCommit                     // take a snapshot and send it in a commit
	opStored                     // the broker stored the commit
	opFailed                     // the commit failed, but the session continues
	opDone                       // a part was accepted or dead-lettered
	opSplit                      // a part was rejected and split
	opAbandon                    // new requests stop, and in-flight requests end
	opFence                      // release the partition, then try forbidden operations
)

// owner is one state of an owner as the search sees it.
type owner struct {
	begin ownerStart
	path  []ownerOp

	next     int64
	open     bool
	cuts     bool // recorded cuts remain
	stopped  bool
	anchored bool
	changed  bool  // a commit would change the stored state
	due      bool  // changed, or a sealed batch waits for a commit
	commit   int32 // number of the commit in flight; 0 if there is none
	sends    []ownerSend
	broken   string // invariant broken by the last operation

	key string
}

// ownerSend is a batch that is being sent.
type ownerSend struct {
	first, next int64
	parts       []ownerPart
	known       bool // the range was stored in this session, or read on assignment
}

type ownerPart struct {
	id   int32 // number of the modelPart
	node uint8
}

// modelPart is a request body.
type modelPart struct {
	offsets string // one byte each
	id      string
	sum     uint64
}

// modelCommit is a commit as stored by the broker.
type modelCommit struct {
	offset   int64
	epoch    int32
	metadata string
}

// cuts returns the cuts in the metadata.
func (c modelCommit) cuts() []int64 {
	cuts, _, err := parseMetadata(c.offset, c.metadata)
	if err != nil {
		panic(err)
	}
	return cuts
}

// ownerStart is the initial state of an owner.
type ownerStart struct {
	offset    int64
	epoch     int32
	metadata  string
	cuts      string // formatted with spaces
	recorded  topicID
	committed bool
	topic     topicID
	maxEvents int
}

// owners assigns numbers to owners, commits, and parts. It is safe for concurrent use.
type owners struct {
	mutant      mutant
	transformer *transform.Mapping
	metrics     *metrics

	mu      sync.Mutex // guards the fields below
	all     []*owner
	byKey   map[string]int32
	commits []modelCommit
	commit  map[modelCommit]int32
	parts   []modelPart
	part    map[modelPart]int32
}

func newOwners(m mutant) *owners {
	mapping, err := transform.Compile(transform.Config{Schema: 3})
	if err != nil {
		panic(err)
	}
	return &owners{
		mutant: m, transformer: mapping, metrics: newMetrics(prometheus.NewRegistry()),
		all: []*owner{nil}, byKey: map[string]int32{}, commits: []modelCommit{{}}, commit: map[modelCommit]int32{},
		parts: []modelPart{{}}, part: map[modelPart]int32{},
	}
}

// liveOwner is an owner on which operations are being replayed.
type liveOwner struct {
	*owners
	in      *intake
	pending *snapshot
	batches []*liveBatch
	known   []string // ranges stored in this session, or read on assignment
}

type liveBatch struct {
	*batch
	parts   []sink.Part
	ids     []int32
	sending bool
	split   []bool
	done    []bool
}

func spanName(first, next int64) string { return fmt.Sprintf("[%d,%d)", first, next) }

// start returns the number of a new owner that starts at s.
func (o *owners) start(s start, topic topicID, maxEvents int) int32 {
	begin := ownerStart{s.offset, s.epoch, s.metadata, strings.Trim(fmt.Sprint(s.cuts), "[]"), s.recorded, s.committed,
		topic, maxEvents}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.numberOf(&owner{begin: begin}, o.live(begin), "")
}

// apply applies an operation to an owner, and returns the number of the resulting owner.
func (o *owners) apply(number int32, op ownerOp) int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	from := o.all[number]
	l := o.live(from.begin)
	for _, past := range from.path {
		l.do(past)
	}
	broken := l.do(op)
	return o.numberOf(&owner{begin: from.begin, path: append(slices.Clone(from.path), op)}, l, broken)
}

func (o *owners) live(s ownerStart) *liveOwner {
	at := start{topicPartition: topicPartition{testTopic, 0}, position: position{s.offset, s.epoch},
		metadata: s.metadata,
		recorded: s.recorded, committed: s.committed, end: modelRecords}
	for word := range strings.FieldsSeq(s.cuts) {
		at.cuts = append(at.cuts, int64(word[0]-'0'))
	}
	if o.mutant == mutantIgnoreCuts {
		at.cuts = nil
	}
	m := &memory{budget: sink.NewBudget(1 << 20)}
	source := at.sourceID(s.topic)
	p := newPartition(at, "member", zap.NewNop(), newWindow(at, source, m, func(bool) {}))
	p.queue = recordQueue{ready: make(chan struct{}, 1)}
	in := &intake{
		partition: p, cfg: &Config{MaxAge: time.Hour, MaxEvents: s.maxEvents}, memory: m, metrics: o.metrics,
		source:      sink.Source{Group: testGroup, Topic: testTopic, TopicID: source},
		transformer: o.transformer.NewTransformer(), inputs: newInputs(false), buffer: sink.NewBuffer(s.maxEvents, 1<<20),
		next: at.position, floor: at.position, cuts: at.cuts, age: time.NewTimer(time.Hour),
		formats: newFormats(newHealth(zap.NewNop())),
	}
	in.formats.acquire(testTopic)
	in.age.Stop()
	in.endSession = func(cause string, err error) { panic(cause + ": " + err.Error()) }
	l := &liveOwner{owners: o, in: in}
	from := at.offset
	for _, cut := range at.cuts {
		l.known = append(l.known, spanName(from, cut))
		from = cut
	}
	return l
}

// do performs an operation, and returns the invariant that it broke, if any.
func (l *liveOwner) do(op ownerOp) (broken string) {
	in, w := l.in, l.in.window
	mark := w.watermark().offset
	switch op.kind {
	case opMap:
		in.mapChunk(chunk{records: []*kgo.Record{op.log.record(in.next.offset)}})
		if l.mutant == mutantFloor && in.open != nil && len(in.cuts) == 0 {
			w.setFloor(in.next, in.cuts)
		}
	case opAge:
		if l.mutant == mutantOwnSettings {
			in.seal(sealAge)
			break
		}
		in.end.setListed(op.log.end(), time.Now().Add(time.Hour))
		in.onAge()
	case opStop:
		if l.mutant == mutantDrain && in.open != nil {
			in.seal(sealDrain)
		}
		in.stopIntake()
		in.run()
	case opCommit:
		s, ok := l.snapshot()
		if !ok {
			return "a fenced window commits"
		}
		l.pending = &s
	case opStored:
		from := l.pending.offset
		for _, cut := range (modelCommit{offset: from, metadata: l.pending.metadata}).cuts() {
			l.known = append(l.known, spanName(from, cut))
			from = cut
		}
		if l.mutant == mutantRecordInFlight {
			s, _ := w.snapshot()
			l.pending.recorded = s.recorded
		}
		send := w.applyCommit(*l.pending, time.Now())
		l.pending = nil
		for _, b := range send {
			l.find(b).sending = true
		}
	case opFailed:
		l.pending = nil
	case opDone:
		b := l.at(op.at)
		b.done[op.part] = true
		if b.delivered() || l.mutant == mutantDeliverRejected {
			if b.state == stateSealed { // only mutants send a sealed batch
				w.sends++
			}
			b.sending = false
			w.endSend(b.batch, true)
			if l.mutant == mutantWatermark {
				for i, other := range w.batches {
					if other == b.batch {
						w.batches = w.batches[i+1:]
						break
					}
				}
			}
		}
	case opSplit:
		l.at(op.at).split[op.part] = true
	case opAbandon:
		for _, b := range l.batches {
			if b.sending {
				b.sending = false
				w.endSend(b.batch, false)
			}
		}
	case opFence:
		w.fence()
		in.cancel()
		if l.pending != nil && len(w.applyCommit(*l.pending, time.Now())) > 0 {
			broken = "a fenced window starts requests"
		}
		for _, b := range l.batches {
			if b.sending {
				w.endSend(b.batch, true)
			}
		}
		if _, ok := w.snapshot(); ok {
			broken = "a fenced window commits"
		}
		if w.watermark().offset != mark && len(w.batches) > 0 {
			broken = "the watermark of a fenced window advances"
		}
	}
	if l.mutant == mutantForgetCuts {
		w.cuts = nil
	}
	for _, b := range w.batches {
		l.find(b)
	}
	if w.watermark().offset < mark {
		broken = "the watermark goes back"
	}
	for _, b := range l.batches {
		if (b.state == stateSealed || b.state == stateRecorded) &&
			(b.body.First != b.first.offset || b.body.Next != b.next || b.parts[0].Sum != b.body.Parts("")[0].Sum) {
			broken = "a sealed batch changed"
		}
	}
	return broken
}

// snapshot returns the state that a commit stores.
func (l *liveOwner) snapshot() (snapshot, bool) {
	w := l.in.window
	s, ok := w.snapshot()
	if l.mutant == mutantGap && len(w.cuts) > 0 {
		cuts := slices.DeleteFunc((modelCommit{offset: s.offset, metadata: s.metadata}).cuts(), func(cut int64) bool {
			return cut == w.floor.offset &&
				!slices.ContainsFunc(w.batches, func(b *batch) bool { return b.next == cut })
		})
		s.metadata, _ = formatMetadata(s.offset, cuts, w.source)
	}
	return s, ok
}

// find returns the liveBatch of a batch, and creates it if necessary.
func (l *liveOwner) find(b *batch) *liveBatch {
	for _, known := range l.batches {
		if known.batch == b {
			return known
		}
	}
	n := &liveBatch{batch: b}
	if b.body != nil {
		source := *b.body
		switch l.mutant {
		case mutantIDWithoutEpoch:
			source.LeaderEpoch = 0
		case mutantIDWithoutTopic:
			source.Source.TopicID = topicID{}
		}
		n.parts = source.Parts(modelDestination)
		n.split, n.done = make([]bool, len(n.parts)), make([]bool, len(n.parts))
		for i := range n.parts {
			p := &n.parts[i]
			if l.mutant == mutantIDWithoutRange {
				p.ID = fmt.Sprint(b.body.First, p.Low)
			}
			var offsets []byte
			for event := p.Low; event < p.High; event++ {
				offsets = append(offsets, byte(b.body.Offset(event)))
			}
			n.ids = append(n.ids, intern(modelPart{string(offsets), p.ID, p.Sum}, l.part, &l.owners.parts))
		}
		l.batches = append(l.batches, n)
	}
	return n
}

func (l *liveOwner) at(first int64) *liveBatch {
	for _, b := range l.batches {
		if b.first.offset == first && b.state != stateDelivered {
			return b
		}
	}
	panic("model: no undelivered batch at this offset")
}

// delivered reports whether all parts that are not split are done.
func (b *liveBatch) delivered() bool {
	for _, i := range b.leaves() {
		if !b.done[i] {
			return false
		}
	}
	return true
}

// leaves returns the indexes of the parts that the batch is currently sent in.
func (b *liveBatch) leaves() (leaves []int) {
	var walk func(i int) int // returns the index after part i and its subparts
	walk = func(i int) int {
		p := b.parts[i]
		if !b.split[i] {
			leaves = append(leaves, i)
		}
		if p.High-p.Low == 1 {
			return i + 1
		}
		if b.split[i] {
			return walk(walk(i + 1))
		}
		return i + 2*(p.High-p.Low) - 1
	}
	walk(0)
	return leaves
}

// numberOf stores the current state of l as an owner, and returns its number.
func (o *owners) numberOf(is *owner, l *liveOwner, broken string) int32 {
	in, w := l.in, l.in.window
	is.next, is.open, is.cuts, is.stopped, is.anchored, is.broken = in.next.offset, in.open != nil, len(in.cuts) > 0,
		isStopped(in), w.anchored, broken
	s, _ := l.snapshot()
	is.changed, is.due = s.changed, s.changed
	for _, b := range s.recorded {
		is.due = is.due || b.state == stateSealed
	}
	if l.pending != nil {
		is.commit = intern(modelCommit{l.pending.offset, l.pending.epoch, l.pending.metadata}, o.commit, &o.commits)
	}
	slices.Sort(l.known)
	l.known = slices.Compact(l.known)
	var k []byte
	k = fmt.Appendf(k, "%v %v %v %v %v %v %v %q ", is.begin.maxEvents, in.source.TopicID[0], is.stopped, in.next,
		in.floor, in.cuts, in.buffer.Events(), in.buffer.Bytes())
	if in.open != nil {
		k = fmt.Appendf(k, "open %v %v ", in.open.first, in.openEpoch)
	}
	k = fmt.Appendf(k, "window %v %v %v %v %q %v %v %v %v ", w.floor, w.cuts, w.fenced, w.stored.position,
		w.stored.metadata, w.anchored, is.commit, l.known, broken)
	for _, b := range w.batches {
		k = fmt.Appendf(k, "%v %d %d ", b.first, b.next, b.state)
	}
	if l.pending != nil {
		for _, b := range l.pending.recorded {
			k = binary.AppendVarint(append(k, "records "...), b.first.offset)
		}
	}
	for _, b := range l.batches {
		if b.state == stateDelivered {
			continue
		}
		k = fmt.Appendf(k, "send %v %v %v %v ", b.ids, b.sending, b.split, b.done)
		if !b.sending && (o.mutant != mutantUnrecorded || b.state != stateSealed) {
			continue
		}
		send := ownerSend{first: b.first.offset, next: b.next,
			known: slices.Contains(l.known, spanName(b.first.offset, b.next))}
		for _, i := range b.leaves() {
			if !b.done[i] {
				send.parts = append(send.parts, ownerPart{b.ids[i], uint8(i)})
			}
		}
		is.sends = append(is.sends, send)
	}
	is.key = string(k)
	if n, known := o.byKey[is.key]; known {
		return n
	}
	n := int32(len(o.all))
	o.all = append(o.all, is)
	o.byKey[is.key] = n
	return n
}

func isStopped(in *intake) bool {
	select {
	case <-in.stopped:
		return true
	default:
		return false
	}
}

// intern returns the number of v, which is its index in all.
func intern[T comparable](v T, numbers map[T]int32, all *[]T) int32 {
	n, known := numbers[v]
	if !known {
		n = int32(len(*all))
		numbers[v] = n
		*all = append(*all, v)
	}
	return n
}

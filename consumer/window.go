package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// maxWindow is the number of sealed batches of one partition that may be unfinished. Each takes at
// most two lengths in the commit metadata (a gap of filtered records before it, and itself), so that
// 64 of them fit with 19 digits each.
const maxWindow = 64

// window holds the sealed and unfinished batches of one partition, in the order of the log, and what
// the last commit stored of them. Intake pushes, the committer takes snapshots, deliveries advance the
// watermark. A fenced window accepts none of these any more.
type window struct {
	source  topicID // topic ID that goes into the commit metadata; see start.go
	memory  *memory
	changed func(urgent bool) // called with mu held when there is something to commit; urgent: a batch waits for it
	room    chan struct{}     // capacity 1: there may be room

	mu       sync.Mutex // guards the fields below
	batches  []*batch
	floor    position      // where the log continues after the batches: nothing below it is open
	cuts     []int64       // recorded by an earlier owner, beyond floor
	bytes    int           // held by batches and dead letters
	sends    int           // deliveries in progress
	fenced   bool          // the partition is released: nothing is recorded or advanced any more
	stored   snapshot      // of the last successful commit
	anchored bool          // the group has a committed offset
	storedAt time.Time     // when the last successful commit was sent
	lessened chan struct{} // closed and replaced when sends, batches or bytes decrease
}

// snapshot is what one commit stores of a partition.
type snapshot struct {
	position
	metadata string
	changed  bool     // it differs from what the last commit stored
	recorded []*batch // those whose cut the metadata holds
}

// newWindow returns the window of a partition that starts at s. source is s.sourceID.
func newWindow(s start, source topicID, m *memory, changed func(urgent bool)) *window {
	return &window{
		source: source, memory: m, changed: changed, room: make(chan struct{}, 1), lessened: make(chan struct{}),
		floor: s.position, cuts: s.cuts, stored: snapshot{position: s.position, metadata: s.metadata}, anchored: s.committed,
	}
}

// push adds a sealed batch. cuts are those still to come.
func (w *window) push(b *batch, floor position, cuts []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batches = append(w.batches, b)
	w.floor, w.cuts = floor, cuts
	w.hold(b.bytes)
	w.settle(true)
}

// raise moves the floor over records that need no delivery. cuts are those still to come.
func (w *window) raise(floor position, cuts []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.floor, w.cuts = floor, cuts
	w.settle(false)
}

// addLetter notes a dead letter of b, which may still be open, of the given size.
func (w *window) addLetter(b *batch, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.letters++
	w.hold(bytes)
}

// endLetter notes that a dead letter of b was written, or abandoned with the partition.
func (w *window) endLetter(b *batch, bytes int, written bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold(-bytes)
	if written {
		b.letters--
	}
	w.settle(false)
}

// endSend notes that a delivery of b has ended, with or without success.
func (w *window) endSend(b *batch, delivered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sends--
	if delivered {
		w.hold(-b.deliver())
	}
	w.settle(false)
}

// hold changes the bytes that the window holds. The caller holds mu.
func (w *window) hold(bytes int) {
	w.bytes += bytes
	w.memory.addUnfinished(bytes)
}

// settle moves the watermark over finished batches, wakes those who wait, and asks for a commit. The
// caller holds mu.
func (w *window) settle(urgent bool) {
	close(w.lessened)
	w.lessened = make(chan struct{})
	select {
	case w.room <- struct{}{}:
	default:
	}
	if w.fenced {
		return
	}
	n := 0
	for n < len(w.batches) && w.batches[n].finished() {
		n++
	}
	w.batches = slices.Delete(w.batches, 0, n)
	w.changed(urgent)
}

// hasRoom reports whether the window accepts another batch or dead letter.
func (w *window) hasRoom() bool {
	crowded := w.memory.crowded()
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.batches) < maxWindow && (w.bytes == 0 || !crowded)
}

// watermark returns the position of the first record that is not delivered. The caller holds mu.
func (w *window) watermark() position {
	if len(w.batches) > 0 {
		return w.batches[0].first
	}
	return w.floor
}

// snapshot returns what a commit is to store now. ok is false if the window is fenced.
func (w *window) snapshot() (s snapshot, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.position = w.watermark()
	cuts := make([]int64, 0, 2*len(w.batches)+len(w.cuts))
	ends := make([]int, 0, len(w.batches)) // per batch, how many cuts record it
	at := s.offset
	for _, b := range w.batches {
		if b.first.offset != at {
			cuts = append(cuts, b.first.offset)
		}
		cuts = append(cuts, b.next)
		ends = append(ends, len(cuts))
		at = b.next
	}
	if len(w.cuts) > 0 && w.floor.offset != at { // the end of a gap, where the next recorded range begins
		cuts = append(cuts, w.floor.offset)
	}
	cuts = append(cuts, w.cuts...)
	var recorded int
	s.metadata, recorded = formatMetadata(s.offset, cuts, w.source)
	for i, end := range ends {
		if end <= recorded {
			s.recorded = append(s.recorded, w.batches[i])
		}
	}
	s.changed = !w.anchored || s.offset != w.stored.offset || s.metadata != w.stored.metadata
	return s, !w.fenced
}

// record notes that a commit, sent at the given time, stored s. It returns the batches that are to be
// sent now; endSend must follow for each. A fenced window returns none.
func (w *window) record(s snapshot, sent time.Time) (send []*batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored, w.stored.recorded, w.storedAt, w.anchored = s, nil, sent, true
	if w.fenced {
		return nil
	}
	for _, b := range s.recorded {
		if b.record() {
			w.sends++
			send = append(send, b)
		}
	}
	return send
}

// fence ends the window: nothing of it is recorded or advanced any more. The broker does not enforce
// this: it checks which member commits, not which partitions the member owns.
func (w *window) fence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fenced = true
}

// windowStatus is a snapshot for metrics and the status page.
type windowStatus struct {
	watermark, stored int64     // first offset not delivered; last committed offset
	storedAt          time.Time // when the last successful commit was sent
	batches, bytes    int       // unfinished batches, and the bytes of them and of dead letters
	opened            time.Time // when the first event of the oldest of them arrived; zero if there is none
	unwritten         int       // dead letters of them that are not written
}

func (w *window) status() windowStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := windowStatus{watermark: w.watermark().offset, stored: w.stored.offset, storedAt: w.storedAt, batches: len(w.batches), bytes: w.bytes}
	for i, b := range w.batches {
		if i == 0 {
			s.opened = b.opened
		}
		s.unwritten += b.letters
	}
	return s
}

// release gives back the bytes that the batches of a fenced window hold.
func (w *window) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.batches {
		w.hold(-b.bytes)
		b.bytes = 0
	}
}

// wait returns when reached, which is called with mu held, reports true, or when ctx is done.
func (w *window) wait(ctx context.Context, reached func() bool) {
	for {
		w.mu.Lock()
		done, lessened := reached(), w.lessened
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-lessened:
		case <-ctx.Done():
			return
		}
	}
}

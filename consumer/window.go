package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// maxWindow is the maximum number of unfinished sealed batches per partition. Each batch needs at
// most two range lengths in the commit metadata: one for the batch and one for a preceding gap of
// filtered records. The metadata therefore has room for 64 batches, even with 19 digits per length.
const maxWindow = 64

// window holds the sealed, unfinished batches of one partition in log order, along with the last
// successful commit. Intake pushes batches, the committer takes snapshots, and deliveries advance
// the watermark. Once the window is fenced, no new snapshots are committed and no more batches are
// sent.
type window struct {
	source  topicID // topic ID for the commit metadata; see start.go
	memory  *memory
	changed func(urgent bool) // called with mu held when a commit is due; if urgent, a batch is waiting for the commit
	room    chan struct{}     // capacity 1; signals that there may be room

	mu       sync.Mutex // guards the fields below
	batches  []*batch
	floor    position      // position after the last batch and any records without events that follow it
	cuts     []int64       // an earlier owner's recorded cuts beyond floor
	bytes    int           // bytes held by batches and dead letters
	sends    int           // number of deliveries in progress
	fenced   bool          // the partition was released; recording and advancing have stopped
	stored   snapshot      // last successful commit
	anchored bool          // the group has a committed offset for the partition
	storedAt time.Time     // when the last successful commit was sent
	notify   chan struct{} // closed and replaced when sends, batches, or bytes may have decreased
}

// snapshot is a partition's state as stored by one commit.
type snapshot struct {
	position
	metadata string
	changed  bool     // differs from the last successful commit
	recorded []*batch // batches whose cut is in the metadata
}

// newWindow returns the window of a partition that starts at s. source is the result of s.sourceID.
func newWindow(s start, source topicID, m *memory, changed func(urgent bool)) *window {
	return &window{
		source: source, memory: m, changed: changed, room: make(chan struct{}, 1), notify: make(chan struct{}),
		floor: s.position, cuts: s.cuts, anchored: s.committed,
		stored: snapshot{position: s.position, metadata: s.metadata},
	}
}

// push adds a sealed batch. cuts holds the remaining recorded cuts.
func (w *window) push(b *batch, floor position, cuts []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batches = append(w.batches, b)
	w.floor, w.cuts = floor, cuts
	w.addBytes(b.bytes)
	w.advanceWatermark(true)
}

// setFloor advances the floor past records that need no delivery. cuts holds the remaining recorded
// cuts.
func (w *window) setFloor(floor position, cuts []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.floor, w.cuts = floor, cuts
	w.advanceWatermark(false)
}

// addLetter adds a dead letter of the given size to b, which may still be open.
func (w *window) addLetter(b *batch, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.letters++
	w.addBytes(bytes)
}

// endLetter records that a dead letter of b was written or abandoned.
func (w *window) endLetter(b *batch, bytes int, written bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addBytes(-bytes)
	if written {
		b.letters--
	}
	w.advanceWatermark(false)
}

// endSend records that a delivery of b has ended, successfully or not.
func (w *window) endSend(b *batch, delivered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sends--
	if delivered {
		w.addBytes(-b.markDelivered())
	}
	w.advanceWatermark(false)
}

// addBytes adds to the window's byte count; bytes may be negative. The caller holds mu.
func (w *window) addBytes(bytes int) {
	w.bytes += bytes
	w.memory.addUnfinished(bytes)
}

// advanceWatermark wakes all waiters. Unless the window is fenced, advanceWatermark also advances
// the watermark past finished batches and requests a commit. The caller holds mu.
func (w *window) advanceWatermark(urgent bool) {
	close(w.notify)
	w.notify = make(chan struct{})
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

// watermark returns the position of the first undelivered record. The caller holds mu.
func (w *window) watermark() position {
	if len(w.batches) > 0 {
		return w.batches[0].first
	}
	return w.floor
}

// snapshot returns the state to commit now. ok is false if the window is fenced.
func (w *window) snapshot() (s snapshot, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.position = w.watermark()
	cuts := make([]int64, 0, 2*len(w.batches)+len(w.cuts))
	ends := make([]int, 0, len(w.batches)) // per batch, the number of cuts up to and including its own
	at := s.offset
	for _, b := range w.batches {
		if b.first.offset != at {
			cuts = append(cuts, b.first.offset)
		}
		cuts = append(cuts, b.next)
		ends = append(ends, len(cuts))
		at = b.next
	}
	if len(w.cuts) > 0 && w.floor.offset != at { // end of a gap; the next recorded range begins there
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

// applyCommit marks s as stored by a commit that was sent at the given time. It returns the batches
// to send now, or none if the window is fenced. The caller must call endSend for each batch
// returned.
func (w *window) applyCommit(s snapshot, sent time.Time) (send []*batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored, w.stored.recorded, w.storedAt, w.anchored = s, nil, sent, true
	if w.fenced {
		return nil
	}
	for _, b := range s.recorded {
		if b.markRecorded() {
			w.sends++
			send = append(send, b)
		}
	}
	return send
}

// fence stops the window from recording batches and advancing the watermark. The fence is needed
// because the broker still accepts commits of a released partition: it checks which member commits,
// not which partitions that member owns.
func (w *window) fence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fenced = true
}

// windowStatus is a window's state for metrics and the status page.
type windowStatus struct {
	watermark int64     // first undelivered offset
	stored    int64     // last committed offset
	storedAt  time.Time // when the last successful commit was sent
	batches   int       // number of unfinished batches
	bytes     int       // bytes held by unfinished batches and dead letters
	unwritten int       // number of unwritten dead letters in unfinished batches
	anchored  bool      // see window

	// The fields below describe the oldest unfinished batch, and are zero if there is none.
	opened     time.Time // when the batch was opened
	recordTime time.Time // see batch
}

// status returns the current state of the window.
func (w *window) status() windowStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := windowStatus{
		watermark: w.watermark().offset, stored: w.stored.offset, storedAt: w.storedAt,
		batches: len(w.batches), bytes: w.bytes, anchored: w.anchored,
	}
	for i, b := range w.batches {
		if i == 0 {
			s.opened, s.recordTime = b.opened, b.recordTime
		}
		s.unwritten += b.letters
	}
	return s
}

// release returns the bytes of a fenced window's batches to the budget.
func (w *window) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.batches {
		w.addBytes(-b.bytes)
		b.bytes = 0
	}
}

// wait blocks until reached returns true or ctx is done. It calls reached with mu held.
func (w *window) wait(ctx context.Context, reached func() bool) {
	for {
		w.mu.Lock()
		done, notify := reached(), w.notify
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-notify:
		case <-ctx.Done():
			return
		}
	}
}

package consumer

import (
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// maxWindow is how many sealed batches of one partition may be unfinished. Each
// takes at most two lengths in the commit's metadata (a gap of filtered records
// before it, and itself), so that 64 of them fit even with 19 digits each.
const maxWindow = 64

// entry is one sealed range in a window, or the open one that becomes it.
type entry struct {
	first, next int64
	epoch       int32       // leader epoch of the record before first; -1 if unknown
	batch       *sink.Batch // nil if the range holds no events, only dead letters
	bytes       int         // of the batch, as it was sealed
	opened      time.Time   // when its first event came

	// All guarded by Consumer.mu.
	letters   int  // dead letters that the broker has not acknowledged
	sealed    bool //
	recorded  bool // its cut is committed
	delivered bool // or has nothing to deliver
}

// finished says whether the watermark may pass the entry.
func (e *entry) finished() bool { return e.sealed && e.delivered && e.letters == 0 }

// window is the sealed and unfinished ranges of one partition, in the order of the
// log. It is guarded by Consumer.mu.
type window struct {
	entries []*entry
	bytes   int     // held by the entries
	floor   int64   // where the log goes on after the entries: nothing below is open
	epoch   int32   // leader epoch of the record before the floor; -1 if unknown
	cuts    []int64 // recorded by an earlier owner and not reached yet
}

// watermark returns the first offset that is not delivered.
func (w *window) watermark() int64 {
	if len(w.entries) > 0 {
		return w.entries[0].first
	}
	return w.floor
}

// push adds a sealed entry.
func (w *window) push(e *entry) {
	e.sealed = true
	e.delivered = e.batch == nil
	w.entries = append(w.entries, e)
	w.bytes += e.bytes
	w.floor = e.next
}

// pop removes what is finished from the front and returns the bytes set free.
func (w *window) pop() (freed int) {
	n := 0
	for n < len(w.entries) && w.entries[n].finished() {
		freed += w.entries[n].bytes
		n++
	}
	w.entries = slices.Delete(w.entries, 0, n)
	w.bytes -= freed
	return freed
}

// release returns the bytes that the entries hold, and has them hold none.
func (w *window) release() (freed int) {
	for _, e := range w.entries {
		e.bytes = 0
	}
	freed, w.bytes = w.bytes, 0
	return freed
}

// snapshot is what a commit says of a partition.
type snapshot struct {
	offset   int64
	epoch    int32
	metadata string
	recorded []*entry // those whose cut the metadata holds
}

// snapshot returns the commit of the present state.
func (w *window) snapshot() snapshot {
	s := snapshot{offset: w.watermark(), epoch: w.epoch}
	if len(w.entries) > 0 {
		s.epoch = w.entries[0].epoch
	}
	cuts := make([]int64, 0, 2*len(w.entries)+len(w.cuts))
	ends := make([]int, 0, len(w.entries)) // per entry, how many cuts record it
	at := s.offset
	for _, e := range w.entries {
		if e.first != at {
			cuts = append(cuts, e.first)
		}
		cuts = append(cuts, e.next)
		ends = append(ends, len(cuts))
		at = e.next
	}
	cuts = append(cuts, w.cuts...)
	var recorded int
	s.metadata, recorded = formatCuts(s.offset, cuts)
	for i, end := range ends {
		if end <= recorded {
			s.recorded = append(s.recorded, w.entries[i])
		}
	}
	return s
}

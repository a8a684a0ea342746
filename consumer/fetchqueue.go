package consumer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chunk is what one poll returned of one partition.
type chunk struct {
	records  []*kgo.Record
	logStart int64 // first offset of the log
	bytes    int
}

// recordQueue holds the polled records that a partition's intake has not mapped yet. The poll loop
// pushes and never blocks; intake pops. A partition that makes no progress is paused instead. That
// happens late, because pausing discards what the client has fetched, and a resumed partition waits
// for the fetch in flight.
type recordQueue struct {
	ready  chan struct{} // capacity 1: there may be chunks
	pause  func()        // stops fetching the partition
	resume func()        // fetches it again
	queued *atomic.Int64 // bytes of all queues except those of paused partitions, which must not hold up the others

	mu     sync.Mutex // guards the fields below
	chunks []chunk
	popped int       // bytes of the chunk popped last, which intake may still hold
	bytes  int       // of chunks and popped
	stuck  time.Time // since when intake has waited for its window; zero if it does not
	paused bool
	pushed bool // a chunk was pushed at least once
	closed bool // the partition is released
}

// pauseAfter is how long intake must have waited for its window before the partition is paused.
const pauseAfter = 200 * time.Millisecond

// push adds a chunk, unless the queue is closed.
func (q *recordQueue) push(c chunk) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.pushed = true
	q.chunks = append(q.chunks, c)
	q.add(c.bytes)
	q.mu.Unlock()
	q.pauseIfStuck()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pauseIfStuck pauses the partition if its intake has waited for its window for pauseAfter.
func (q *recordQueue) pauseIfStuck() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stuck.IsZero() || q.paused || q.closed || time.Since(q.stuck) <= pauseAfter {
		return
	}
	q.queued.Add(-int64(q.bytes))
	q.paused = true
	q.pause()
}

// pop removes the oldest chunk; the one popped before is done with. If there is none, it resumes a
// paused partition.
func (q *recordQueue) pop() (chunk, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(-q.popped)
	q.popped = 0
	if len(q.chunks) == 0 {
		if q.paused {
			q.paused = false
			q.resume()
		}
		return chunk{}, false
	}
	c := q.chunks[0]
	q.chunks[0] = chunk{}
	if q.chunks = q.chunks[1:]; len(q.chunks) == 0 {
		q.chunks = nil
	}
	q.popped = c.bytes
	return c, true
}

// add changes the bytes that the queue holds. The caller holds mu.
func (q *recordQueue) add(n int) {
	q.bytes += n
	if !q.paused {
		q.queued.Add(int64(n))
	}
}

// used reports whether anything was ever pushed.
func (q *recordQueue) used() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushed
}

// setStuck notes since when intake has waited for its window; zero: it does not wait.
func (q *recordQueue) setStuck(since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stuck = since
}

// close empties the queue and keeps it empty.
func (q *recordQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(-q.bytes)
	q.chunks, q.popped, q.closed = nil, 0, true
}

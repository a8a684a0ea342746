package consumer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chunk holds the records that one poll returned for one partition.
type chunk struct {
	records  []*kgo.Record
	logStart int64 // first offset of the log
	bytes    int   // approximate memory use of records
}

// recordQueue holds polled records until the partition's intake maps them. The poll loop pushes and
// never blocks; intake pops. A partition that makes no progress is paused instead. It is paused
// late, because pausing discards records already fetched, and a resumed partition waits for the
// fetch in flight.
type recordQueue struct {
	ready  chan struct{} // capacity 1; signals that there may be chunks
	pause  func()        // stops fetching the partition
	resume func()        // resumes fetching the partition
	queued *atomic.Int64 // bytes in all queues, except for paused partitions, which must not block others

	mu     sync.Mutex // guards the fields below
	chunks []chunk
	popped int       // bytes of the last popped chunk, which intake may still hold
	bytes  int       // bytes of chunks, plus popped
	stuck  time.Time // when intake began to wait for its window; zero if it is not waiting
	paused bool
	pushed bool // at least one chunk was pushed
	closed bool // the partition was released
}

// pauseAfter is the time that intake waits for its window before the partition is paused.
const pauseAfter = 200 * time.Millisecond

// push adds a chunk. If the queue is closed, it drops the chunk.
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

// pop removes and returns the oldest chunk. It releases the bytes of the chunk popped before. If
// the queue is empty, it resumes a paused partition.
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

// add adds n to the bytes that the queue holds; n may be negative. The caller holds mu.
func (q *recordQueue) add(n int) {
	q.bytes += n
	if !q.paused {
		q.queued.Add(int64(n))
	}
}

// used reports whether a chunk was ever pushed.
func (q *recordQueue) used() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushed
}

// setStuck sets the time when intake began to wait for its window. Zero means that it is not
// waiting.
func (q *recordQueue) setStuck(since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stuck = since
}

// close empties the queue. Later pushes are dropped.
func (q *recordQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(-q.bytes)
	q.chunks, q.popped, q.closed = nil, 0, true
}

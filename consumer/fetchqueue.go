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
	logStart int64 // start offset of the log
	bytes    int   // approximate memory use of records
}

// recordQueue holds polled records until the partition's intake maps them. Pushing never blocks the
// poll loop. Instead, a partition that makes no progress is paused. Pausing is delayed, because a
// pause discards fetched records, and a resumed partition waits for the fetch in flight.
type recordQueue struct {
	ready  chan struct{} // capacity 1; signals that there may be chunks
	pause  func()        // stops fetching the partition
	resume func()        // resumes fetching the partition
	queued *atomic.Int64 // bytes in the queues of unpaused partitions; paused ones must not block others

	mu     sync.Mutex // guards the fields below
	chunks []chunk
	popped int       // bytes of the last popped chunk, which intake may still be using
	bytes  int       // bytes of the queued chunks and the last popped one
	stuck  time.Time // when intake began to wait for window room; zero if it is not waiting
	paused bool
	pushed bool // at least one chunk was pushed
	closed bool // the partition was released
}

// pauseAfter is how long intake may wait for window room before its partition is paused.
const pauseAfter = 200 * time.Millisecond

// push adds a chunk, or drops it if the queue is closed.
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

// pauseIfStuck pauses the partition if its intake has waited for window room longer than
// pauseAfter.
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

// pop removes and returns the oldest chunk, and releases the bytes of the previously popped one. If
// the queue is empty, pop resumes a paused partition unless the queue is closed.
func (q *recordQueue) pop() (chunk, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(-q.popped)
	q.popped = 0
	if len(q.chunks) == 0 {
		if q.paused && !q.closed {
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

// add adds n to the queue's byte count; n may be negative. The caller holds mu.
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

// setStuck sets the time when intake began to wait for window room. The zero time means that intake
// is not waiting.
func (q *recordQueue) setStuck(since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stuck = since
}

// close empties the queue and makes it drop later chunks.
func (q *recordQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(-q.bytes)
	q.chunks, q.popped, q.closed = nil, 0, true
}

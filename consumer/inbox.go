package consumer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chunk is what one poll brought of one partition.
type chunk struct {
	records  []*kgo.Record
	logStart int64 // first offset of the log
	bytes    int
}

// inbox holds the polled records that a partition has not taken yet. Pushing never
// blocks; a partition that cannot take records is paused instead. That is done late,
// because pausing throws away what the client has fetched, and a partition that is
// resumed waits for the fetch that is under way without it.
type inbox struct {
	ready  chan struct{} // capacity 1: there may be chunks
	pause  func()        // stop fetching the partition
	resume func()        // fetch it again
	queued *atomic.Int64 // bytes of all inboxes, but for those of paused partitions, which must not hold up the others

	mu     sync.Mutex
	chunks []chunk   // guards
	taken  int       // guards: bytes of the chunk that was taken last
	bytes  int       // guards: of the chunks and of the one that was taken last
	stuck  time.Time // guards: since when the partition waits for its window; zero if it does not
	paused bool      // guards
	pushed bool      // guards: there was a chunk
	closed bool      // guards: the partition is given up
}

// pauseAfter is how long a partition must wait for its window to be paused.
const pauseAfter = 200 * time.Millisecond

// push adds a chunk.
func (b *inbox) push(c chunk) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.pushed = true
	b.chunks = append(b.chunks, c)
	b.add(c.bytes)
	b.mu.Unlock()
	b.pauseIfStuck()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// pauseIfStuck pauses a partition that has waited for its window for long.
func (b *inbox) pauseIfStuck() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stuck.IsZero() || b.paused || b.closed || time.Since(b.stuck) <= pauseAfter {
		return
	}
	b.queued.Add(-int64(b.bytes))
	b.paused = true
	b.pause()
}

// take removes the oldest chunk; the one taken before is done with. When there is
// none, a paused partition is resumed.
func (b *inbox) take() (chunk, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(-b.taken)
	b.taken = 0
	if len(b.chunks) == 0 {
		if b.paused {
			b.paused = false
			b.resume()
		}
		return chunk{}, false
	}
	c := b.chunks[0]
	b.chunks[0] = chunk{}
	if b.chunks = b.chunks[1:]; len(b.chunks) == 0 {
		b.chunks = nil
	}
	b.taken = c.bytes
	return c, true
}

// add notes that the inbox holds n bytes more. The caller holds mu.
func (b *inbox) add(n int) {
	b.bytes += n
	if !b.paused {
		b.queued.Add(int64(n))
	}
}

// used says whether anything was ever pushed.
func (b *inbox) used() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pushed
}

// setStuck notes since when the partition waits for its window; zero: it does not.
func (b *inbox) setStuck(since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = since
}

// close empties the inbox for ever.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(-b.bytes)
	b.chunks, b.taken, b.closed = nil, 0, true
}

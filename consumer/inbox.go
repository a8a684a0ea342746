package consumer

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chunk is what one poll brought of one partition.
type chunk struct {
	records  []*kgo.Record
	logStart int64 // first offset of the log
	logEnd   int64 // last stable offset: records below may be read
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

	mu     sync.Mutex
	chunks []chunk   // guards
	stuck  time.Time // guards: since when the partition waits for its window; zero if it does not
	paused bool      // guards
}

// pauseAfter is how long a partition must wait for its window to be paused.
const pauseAfter = 200 * time.Millisecond

// push adds a chunk.
func (b *inbox) push(c chunk) {
	b.mu.Lock()
	b.chunks = append(b.chunks, c)
	if !b.stuck.IsZero() && !b.paused && time.Since(b.stuck) > pauseAfter {
		b.paused = true
		b.pause()
	}
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take removes the oldest chunk. When there is none, a paused partition is resumed.
func (b *inbox) take() (chunk, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
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
	return c, true
}

// setStuck notes since when the partition waits for its window; zero: it does not.
func (b *inbox) setStuck(since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = since
}

// drop empties the inbox and returns the bytes that it held.
func (b *inbox) drop() (bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.chunks {
		bytes += c.bytes
	}
	b.chunks = nil
	return bytes
}

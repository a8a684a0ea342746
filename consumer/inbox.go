package consumer

import (
	"sync"

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
// blocks; a partition that cannot take records is paused instead, late, because
// pausing throws away what the client has fetched.
type inbox struct {
	ready  chan struct{} // capacity 1: there may be chunks
	pause  func()        // stop fetching the partition
	resume func()        // fetch it again

	mu     sync.Mutex
	chunks []chunk // guards
	stuck  bool    // guards: the partition waits for its window
	paused bool    // guards
}

// push adds a chunk.
func (b *inbox) push(c chunk) {
	b.mu.Lock()
	b.chunks = append(b.chunks, c)
	if b.stuck && !b.paused {
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

// setStuck notes whether the partition waits for its window.
func (b *inbox) setStuck(stuck bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = stuck
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

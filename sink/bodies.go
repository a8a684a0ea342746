package sink

import (
	"math/bits"
	"sync"
)

const (
	smallestBody = 8 << 10 // capacity that a buffer starts with
	headroom     = 4 << 10 // free room below which a buffer grows: more than most records need
	largestBody  = 4 << 20 // capacity beyond which a body is not kept for reuse
)

// bodies are raw bodies for reuse, by the length in bits of their capacity. A
// buffer starts with a small one and changes it for one of twice the size when it
// has to. So what a partition holds follows what it uses, however many partitions
// there are and whatever they held before.
var bodies [bits.UintSize + 1]sync.Pool

// takeBody returns an empty body of at least the given capacity, a power of two.
func takeBody(capacity int) []byte {
	if body, ok := bodies[bits.Len(uint(capacity))].Get().(*[]byte); ok {
		return (*body)[:0]
	}
	return make([]byte, 0, capacity)
}

// giveBody keeps a body for reuse. The caller lets go of it.
func giveBody(body []byte) {
	if c := cap(body); c >= smallestBody && c <= largestBody {
		bodies[bits.Len(uint(c))].Put(&body)
	}
}

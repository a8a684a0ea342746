package app

import (
	"os"
	"runtime/debug"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// otherMemory is the typical memory usage in bytes, excluding the request bodies limited by
// delivery.max_buffered.
const otherMemory = 64 << 20

// gcPercent is how much the heap may grow between garbage collections, in percent of the live heap.
// Most memory is reused, so collections are rare and cheap, and halving Go's default costs less than
// a hundredth of the CPU time.
const gcPercent = 50

// LimitMemory limits the growth of the heap between garbage collections, and sets a soft memory
// limit, so that the garbage collector runs more often instead of letting the heap grow, even when
// CPU time is scarce. GOGC and GOMEMLIMIT take precedence.
func LimitMemory(cfg *config.Config) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.Delivery.MaxBuffered) + otherMemory)
	}
}

package app

import (
	"os"
	"runtime/debug"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// otherMemory is the typical memory usage in bytes, excluding the request bodies limited by
// delivery.max_buffered.
const otherMemory = 64 << 20

// LimitMemory sets a soft memory limit, so that the garbage collector runs more often instead of
// letting the heap grow, even when CPU time is scarce. If GOMEMLIMIT is set, LimitMemory does
// nothing.
func LimitMemory(cfg *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.Delivery.MaxBuffered) + otherMemory)
	}
}

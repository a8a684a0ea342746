package app

import (
	"os"
	"runtime/debug"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// besideBodies is what the program takes beside delivery.max_buffered, as a rule.
const besideBodies = 64 << 20

// LimitMemory has the process's collector work harder before it lets memory grow,
// which it would on a machine that leaves it little time. GOMEMLIMIT, if set, says
// otherwise.
func LimitMemory(cfg *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.Delivery.MaxBuffered) + besideBodies)
	}
}

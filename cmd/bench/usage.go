package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
)

// usage holds the resources used by a process since its start.
type usage struct {
	CPU        time.Duration // user and system time, set by the parent after the process exits
	Peak       uint64        // largest resident set in bytes; 0 if the system does not report it
	Allocs     uint64        // objects allocated
	AllocBytes uint64        // bytes allocated
	GCs        uint64        // garbage collections
}

// used returns this process's usage, excluding CPU time.
func used() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{Peak: peak(), Allocs: m.Mallocs, AllocBytes: m.TotalAlloc, GCs: uint64(m.NumGC)}
}

// peak returns this process's peak resident memory in bytes, from VmHWM in /proc/self/status, or 0
// if the system does not report it. The value from getrusage(2) is unsuitable, because a child
// process inherits its parent's maxrss.
func peak() (kilobytes uint64) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, line, found := bytes.Cut(status, []byte("VmHWM:")); found {
		_, _ = fmt.Sscan(string(line), &kilobytes)
	}
	return kilobytes << 10
}

// profile writes a CPU profile to a file in the directory o.pprof until stop is called. The file is
// named after the group and the process ID. If o.pprof is empty, profile does nothing.
func profile(o *options, cfg *config.Config) (stop func(), err error) {
	if o.pprof == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(o.pprof, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(o.pprof, fmt.Sprintf("%s-%d.cpu.pprof", cfg.Kafka.Group, os.Getpid())))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

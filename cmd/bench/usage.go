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

// usage is the total resource usage of a process.
type usage struct {
	CPU        time.Duration // user and system time; the parent sets it after the process exits
	Peak       uint64        // bytes of the largest resident set; 0 if the system does not report it
	Allocs     uint64        // objects allocated
	AllocBytes uint64        // bytes of these objects
	GCs        uint64        // garbage collections
}

// used returns the usage of this process without its CPU.
func used() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{Peak: peak(), Allocs: m.Mallocs, AllocBytes: m.TotalAlloc, GCs: uint64(m.NumGC)}
}

// peak returns VmHWM from proc(5). It does not use maxrss from getrusage(2), because a child
// process inherits its parent's value.
func peak() (kilobytes uint64) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, line, found := bytes.Cut(status, []byte("VmHWM:")); found {
		_, _ = fmt.Sscan(string(line), &kilobytes)
	}
	return kilobytes << 10
}

// profile writes a CPU profile, until stop is called, to a file in o.pprof that is named after the
// group. If o.pprof is empty, it does nothing.
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

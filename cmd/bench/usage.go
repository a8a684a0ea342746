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

// usage is what a process has used from its start to its end.
type usage struct {
	CPU        time.Duration // user and system; set by the parent when the process has ended
	Peak       uint64        // bytes of the largest resident set; 0 if the system does not report it
	Allocs     uint64        // objects
	AllocBytes uint64        // of these objects
	GCs        uint64        // collections
}

// used returns the usage of this process, without its CPU.
func used() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{Peak: peak(), Allocs: m.Mallocs, AllocBytes: m.TotalAlloc, GCs: uint64(m.NumGC)}
}

// peak returns VmHWM, which proc(5) describes. The maxrss of getrusage(2) starts at the parent's
// value.
func peak() (kilobytes uint64) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, line, found := bytes.Cut(status, []byte("VmHWM:")); found {
		_, _ = fmt.Sscan(string(line), &kilobytes)
	}
	return kilobytes << 10
}

// profile profiles the CPU until stop is called, into a file of o.pprof that is named for the
// group. It does nothing if o.pprof is empty.
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

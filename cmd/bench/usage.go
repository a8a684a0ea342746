package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"
)

// usage is the total resource usage of a process.
type usage struct {
	CPU        time.Duration // user and system time; the parent sets it after the process exits
	Peak       uint64        // bytes of the largest resident set; 0 if the system does not report it
	Allocs     uint64        // objects
	AllocBytes uint64        // bytes of these objects
	GCs        uint64        // garbage collections
}

// used returns the usage of this process without its CPU.
func used() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{Peak: peak(), Allocs: m.Mallocs, AllocBytes: m.TotalAlloc, GCs: uint64(m.NumGC)}
}

// peak returns VmHWM from proc(5). maxrss from getrusage(2) is unsuitable, because it starts at the
// parent's.
func peak() (kilobytes uint64) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, line, found := bytes.Cut(status, []byte("VmHWM:")); found {
		_, _ = fmt.Sscan(string(line), &kilobytes)
	}
	return kilobytes << 10
}

// add adds the usage of a process that ran at the same time.
func (u *usage) add(v usage) {
	u.CPU += v.CPU
	u.Peak = max(u.Peak, v.Peak)
	u.Allocs += v.Allocs
	u.AllocBytes += v.AllocBytes
	u.GCs += v.GCs
}

// profile writes a CPU profile to path.cpu.pprof until stop is called. If path is empty, it does
// nothing.
func profile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(path + ".cpu.pprof")
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

// heap writes a heap profile, which includes all allocations since the start, to path.heap.pprof.
// If path is empty, it does nothing.
func heap(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path + ".heap.pprof")
	if err != nil {
		return err
	}
	defer f.Close()
	return pprof.Lookup("heap").WriteTo(f, 0)
}

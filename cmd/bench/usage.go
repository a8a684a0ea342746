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

// usage is what a process has used in its life.
type usage struct {
	CPU        time.Duration // user and system; known to the parent, when the process has ended
	Peak       uint64        // bytes of the largest resident set; 0 where the system does not tell
	Allocs     uint64        // objects
	AllocBytes uint64        // of these objects
	GCs        uint64        // collections
}

// used returns what this process has used, without its CPU.
func used() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{Peak: peak(), Allocs: m.Mallocs, AllocBytes: m.TotalAlloc, GCs: uint64(m.NumGC)}
}

// peak reads VmHWM from proc(5). The maxrss of getrusage(2) would not do: it begins with that of the parent.
func peak() (kilobytes uint64) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, line, found := bytes.Cut(status, []byte("VmHWM:")); found {
		_, _ = fmt.Sscan(string(line), &kilobytes)
	}
	return kilobytes << 10
}

// add adds up processes that ran at the same time.
func (u *usage) add(v usage) {
	u.CPU += v.CPU
	u.Peak = max(u.Peak, v.Peak)
	u.Allocs += v.Allocs
	u.AllocBytes += v.AllocBytes
	u.GCs += v.GCs
}

// profile profiles the CPU into a file whose name begins with path, unless path is "", until stop is called.
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

// heap writes what is allocated, and what was since the start, to a file whose name begins with path, unless path is "".
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

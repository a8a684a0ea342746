package transform

import "golang.org/x/sys/cpu"

var hasVector = cpu.X86.HasAVX2

// markVector makes the marks of b, which has at least 64 bytes, as the loop in setMarks does, 64 at a time. It writes
// 8*(len(b)/64+1) bytes of marks.
//
//go:noescape
func markVector(marks, b []byte)

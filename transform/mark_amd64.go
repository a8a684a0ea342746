package transform

import "golang.org/x/sys/cpu"

var hasVector = cpu.X86.HasAVX2

// markVector makes the marks of b, which has at least 64 bytes, as the loop in setMarks does, 64 at a time. It fills
// eight bytes of marks for each 64 bytes of b that are begun.
//
//go:noescape
func markVector(marks, b []byte)

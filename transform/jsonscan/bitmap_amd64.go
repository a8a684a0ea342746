package jsonscan

import "golang.org/x/sys/cpu"

var hasVector = cpu.X86.HasAVX2

// bitmapVector sets bitmap like the loop in setBitmap, but processes 64 bytes at a time. It writes
// 8*(len(b)/64+1) bytes. b must contain at least 64 bytes.
//
//go:noescape
func bitmapVector(bitmap, b []byte)

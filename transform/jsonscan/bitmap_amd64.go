package jsonscan

import "golang.org/x/sys/cpu"

var hasVector = cpu.X86.HasAVX2

// bitmapVector sets bitmap like the loop in setBitmap, for 64 bytes at a time. b must have at least
// 64 bytes. It writes 8*(len(b)/64+1) bytes.
//
//go:noescape
func bitmapVector(bitmap, b []byte)

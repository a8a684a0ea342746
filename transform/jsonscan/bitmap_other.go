//go:build !amd64

package jsonscan

const hasVector = false

func bitmapVector(_, _ []byte) { panic("not called") }

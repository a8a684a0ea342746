//go:build !amd64

package transform

const hasVector = false

func markVector(_, _ []byte) { panic("not called") }

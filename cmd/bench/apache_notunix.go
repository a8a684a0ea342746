//go:build !unix

package main

import (
	"context"
	"errors"
)

func (b *bench) startApache(context.Context, string) ([]string, error) {
	return nil, errors.New("-apache works only on Unix; use -brokers")
}

//go:build unix

package main

import (
	"context"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

func (b *bench) startApache(ctx context.Context, dir string) ([]string, error) {
	a, err := kafkatest.StartApache(ctx, kafkatest.ApacheConfig{Dir: dir, Nodes: 1})
	if err != nil {
		return nil, err
	}
	b.atEnd = append(b.atEnd, a.Close)
	return a.Brokers(), nil
}

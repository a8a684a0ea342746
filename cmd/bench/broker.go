package main

import (
	"context"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// dataDir is the environment variable that sets the broker's data directory.
const dataDir = "BENCH_DATA_DIR"

// runBroker runs a broker until stdin is closed: the embedded one, or Apache Kafka.
func runBroker(o *options, stdin io.Reader, stdout io.Writer) error {
	dir := os.Getenv(dataDir)
	var addresses []string
	if o.apache {
		cluster, err := kafkatest.StartApache(context.Background(), kafkatest.ApacheConfig{Dir: dir, Nodes: 1})
		if err != nil {
			return err
		}
		defer cluster.Close()
		addresses = cluster.Brokers()
	} else {
		cluster, err := kafkatest.NewEmbedded(kfake.DataDir(dir))
		if err != nil {
			return err
		}
		defer cluster.Close()
		addresses = cluster.ListenAddrs()
	}
	return obey(stdin, stdout, map[string]func() (any, error){
		"addresses": func() (any, error) { return addresses, nil },
	})
}

package main

import (
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// dataDir is the environment variable that sets the broker's data directory.
const dataDir = "BENCH_DATA_DIR"

// runBroker runs the embedded broker until stdin is closed.
func runBroker(_ *options, stdin io.Reader, stdout io.Writer) error {
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(os.Getenv(dataDir)))
	if err != nil {
		return err
	}
	defer cluster.Close()
	return obey(stdin, stdout, map[string]func() (any, error){
		"addresses": func() (any, error) { return cluster.ListenAddrs(), nil },
	})
}

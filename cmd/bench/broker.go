package main

import (
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// startBrokers starts the brokers that the flags select, stores their data in dir, and returns
// their addresses.
func (b *bench) startBrokers(dir string) (addresses []string, err error) {
	if b.apache {
		return b.startApache(b.ctx, dir)
	}
	broker, err := b.start(b.self, roleBroker, map[string]string{dataDir: dir}, "")
	if err != nil {
		return nil, err
	}
	err = broker.ask("addresses", &addresses)
	return addresses, err
}

// dataDir is the environment variable that sets the data directory of the embedded broker.
const dataDir = "BENCH_DATA_DIR"

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

//go:build linux

package chaos

import (
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

func TestClientsReachBrokersOnlyThroughTheirLinks(t *testing.T) {
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(3), kfake.SeedTopics(3, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	network := newNetwork(1, "127.0.0.1:1", t.Logf)
	defer network.close()
	wire, err := network.attach("m", cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(wire.brokers()...), kgo.DefaultProduceTopic("t"), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 100 {
		if err := client.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 100; {
		n += client.PollFetches(t.Context()).NumRecords()
	}
	if err := client.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	detail, err := kadm.NewClient(client).BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range detail.Brokers {
		for _, real := range cluster.ListenAddrs() {
			if addr := b.Host + ":" + strconv.Itoa(int(b.Port)); addr == real {
				t.Errorf("the client learned of the real address %s", addr)
			}
		}
	}
	if network.seen.fault != nil {
		t.Error(network.seen.fault)
	}
	if len(network.seen.commits) == 0 {
		t.Error("no commit seen")
	}
}
